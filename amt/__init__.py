"""The workload that ships with runner: hand-object pose from one RGB crop."""
