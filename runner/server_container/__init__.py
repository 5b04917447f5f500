"""The container of this folder's own sweep server."""
