"""Variables that compose.yaml leaves open: `runner compose` pins them in `.env`, or a user does.

Those that reach a container under the same name are in the contract's `variables`.
"""

from runner.agent.contract import variables

# Compose's own
FILES = "COMPOSE_FILE"
PROFILES = "COMPOSE_PROFILES"

# the user's, in the shell
NAMED_SWEEP = "SWEEP"  # an ID or a path: joined in place of the folder's sweep
KEY_FILE = variables.KEY_FILE  # on the host: a key of W&B's, or a .netrc
CA_FILE = "RUNNER_CA_FILE"  # certificates of one's own
PIP_CONF = "RUNNER_PIP_CONF"  # of a build: where pip finds packages
UV_TOML = "RUNNER_UV_TOML"  # likewise uv
WHEELS = "RUNNER_WHEELS"  # a folder of wheels
TORCH_INDEX = "RUNNER_TORCH_INDEX"

# of all agents
UID = "RUNNER_UID"
GID = "RUNNER_GID"
NETWORK = "RUNNER_NETWORK"
IMAGE = "RUNNER_IMAGE"
READ_ONLY = "RUNNER_READ_ONLY"
SHM_SIZE = "RUNNER_SHM_SIZE"
MEMORY = "RUNNER_MEMORY"
STOP_AFTER = "RUNNER_STOP_AFTER"
GPU_DRIVER = "RUNNER_GPU_DRIVER"

# of the server
SERVER_IMAGE = "RUNNER_SERVER_IMAGE"
SERVER_NAME = "RUNNER_SERVER_NAME"
PORT = "RUNNER_PORT"  # on the host
APP_URL = "RUNNER_APP_URL"
DATA = "RUNNER_DATA"


def agent_service(number: int) -> str:
    """The service of an agent, and its name where nothing is pinned."""
    return f"agent-{number}"


def container(number: int) -> str:
    """The name of an agent's container."""
    return f"RUNNER_NAME_{number}"


def agent(number: int) -> str:
    """The name of an agent."""
    return f"RUNNER_AGENT_{number}"


def slot(number: int) -> str:
    """The UUID of an agent's GPU."""
    return f"RUNNER_UUID_{number}"


def device(number: int) -> str:
    """An agent's GPU as the engine is asked for it: a UUID, CDI's name or an index."""
    return f"RUNNER_GPU_{number}"
