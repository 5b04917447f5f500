"""This folder's own sweep server, in a container."""
