"""The state folder `.runner/`: where everything of a fleet lies on the host."""
