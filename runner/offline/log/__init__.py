"""Offline logs: find them, read frames and records, copy them, see who still writes one."""
