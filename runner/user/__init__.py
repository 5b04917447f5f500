"""What runner keeps for one user, outside of every project."""
