"""Checks of folders, containers and repositories that others may have written."""
