"""Procedural hands that grasp objects, and their pictures."""
