"""Files of our own: written in one step, named for a moment, kept in numbered formats."""
