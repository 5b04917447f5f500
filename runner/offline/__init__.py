"""`sync-offline`: run logs on disk → a W&B server, each once, read back and receipted."""
