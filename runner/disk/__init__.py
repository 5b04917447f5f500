"""Our own files: atomic writes, locks, temporary files, formats with numbers."""
