"""Sweeps as the command line knows them: named, found, created, remembered."""
