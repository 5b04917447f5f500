"""The state folder `.runner/`, which contains all files of a fleet on the host."""
