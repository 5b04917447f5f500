"""What host and container agree on, each item defined once.

The host imports it, `compose.yaml` is made from it, and it ships with the agent: standard library,
grammar of Python 3.10, no imports but its own. Containers outlive an upgrade of the host, so names
and numbers here may be added to and not changed.

`variables` of the environment · `additions`, those that a run gets beside W&B's · `paths` inside
containers · `labels` and names of containers · `limits` · `exits`, the exit codes · `failures`,
what follows from a failed run · `status`, the files of the status folder · `slots`, where an agent
runs · `sweeps`, which sweep it works on · `servers`, whom it asks · `commands`, how a run is
started
"""
