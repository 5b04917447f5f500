"""The fleet of a folder by `docker compose`: its files and variables, and its services."""
