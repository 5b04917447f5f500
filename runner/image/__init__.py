"""A project, and what the server needs, become images."""
