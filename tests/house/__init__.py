"""Checks of the structure: where a value goes, size of modules, names, English."""
