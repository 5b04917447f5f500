"""Reads handwritten digits with a forest of decision trees."""
