"""The sweep server: W&B's protocol over SQLite."""
