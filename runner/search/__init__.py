"""The search: the next configuration of a sweep, runs to stop early, the best run."""
