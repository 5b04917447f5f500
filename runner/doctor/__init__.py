"""Check this machine; each finding has a fix."""
