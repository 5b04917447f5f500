"""One module for each format of dependency files: what the build installs from it."""
