"""A folder as a project: what is found in it, and what `init` writes there."""
