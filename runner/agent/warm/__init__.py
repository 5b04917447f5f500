"""Warm starts: a process that has imported what runs import, and forks each run.

The agent (`client`, `command`, `memory`) starts the parent under the run's own interpreter. There
Python imports `inject/sitecustomize.py` before it reads the program, and everything else of this
package works inside that import: the parent waits in it, and each child returns from it. So the
interpreter itself, not code of ours, executes the program and ends the process.
"""
