"""Find the project in a folder, read its files, and write new ones for `init`."""
