"""Records that runner keeps for one user, outside of projects."""
