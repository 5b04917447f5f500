"""Variables of compose.yaml. `runner compose` or the user sets them in `.env`.

Those that reach a container under the same name are in the contract's `variables`.
"""

from runner.agent.contract import variables

# Compose's own
FILES = "COMPOSE_FILE"
PROFILES = "COMPOSE_PROFILES"

# for the user to set in the shell
NAMED_SWEEP = "SWEEP"  # an ID or a path; replaces the folder's sweep
KEY_FILE = variables.KEY_FILE  # path on the host: a file with a W&B key, or a .netrc
CA_FILE = "RUNNER_CA_FILE"  # the user's certificates
PIP_CONF = "RUNNER_PIP_CONF"  # for builds: pip's settings
UV_TOML = "RUNNER_UV_TOML"  # for builds: uv's settings
WHEELS = "RUNNER_WHEELS"  # for builds: a folder of wheels
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
PORT = "RUNNER_PORT"  # port on the host
APP_URL = "RUNNER_APP_URL"
DATA = "RUNNER_DATA"
MIN_FREE = "RUNNER_SERVE_MIN_FREE"  # both as the setting's variable
SERVER_MEMORY = "RUNNER_SERVE_MEMORY"


def agent_service(number: int) -> str:
    """The name of an agent's service; also the agent's name if nothing is pinned."""
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
    """The device ID of an agent's GPU for the engine: a UUID, a CDI name or an index."""
    return f"RUNNER_GPU_{number}"
