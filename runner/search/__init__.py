"""The search: which configuration a sweep tries next, which runs end early, which run is best."""
