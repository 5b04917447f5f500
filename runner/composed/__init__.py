"""`python -m runner.composed`: how compose files of version 0eb7efa name `runner.compose`."""
