"""The fleet of a folder by `docker compose`: what it reads, and what it runs beside the agents."""
