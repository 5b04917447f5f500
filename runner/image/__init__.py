"""Build the images of a project and of the sweep server."""
