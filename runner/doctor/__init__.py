"""What could go wrong here, each finding with its fix."""
