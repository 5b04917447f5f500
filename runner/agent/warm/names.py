"""What the agent and its warm parent call things."""

from runner.agent.contract import variables

DOOR = "RUNNER_WARM_DOOR"  # variable: the number of the parent's socket
PYTHON_PATH = "RUNNER_WARM_PYTHONPATH"  # variable: `PYTHONPATH` as runs have it

OWN_VARIABLES = (
    variables.CHECKPOINT_DIR,
    variables.API_KEY,
    variables.RESUME,
    variables.RUN_ID,
    variables.RUN_VALUES,
)
"""What each run has of its own: neither the parent nor a waiting child has them."""
