"""Environment variables: their names, and the values that are the same in every agent."""

from collections.abc import Mapping

from runner.agent.contract import paths

# what an agent is told
SWEEP = "RUNNER_SWEEP"  # entity/project/id; to Compose's services also an ID or a file
AGENT = "RUNNER_AGENT"  # its name
SLOT = "RUNNER_GPU_UUID"  # see `slots`
SERVER_KIND = "RUNNER_SERVER_KIND"  # see `servers`
KEY_FILE = "RUNNER_KEY_FILE"
COUNT = "RUNNER_COUNT"  # of runs, then it leaves
COMMAND = "RUNNER_COMMAND"  # JSON list; without it the sweep's
PROGRAM = "RUNNER_PROGRAM"
DEFAULT_PROGRAM = "RUNNER_DEFAULT_PROGRAM"  # where neither that nor the sweep names one
CPUS = "RUNNER_CPUS"  # cores that it has, where they are bounded
GRACE_S = "RUNNER_GRACE_S"  # from SIGTERM to SIGKILL
RUN_TIMEOUT_S = "RUNNER_TIMEOUT_S"  # the longest that a run may take
IDLE_TIMEOUT_S = "RUNNER_IDLE_TIMEOUT_S"  # the longest that it may do nothing
RELEASE_S = "RUNNER_RELEASE_S"  # the longest that a GPU's memory or a killed process outlives a run
HEARTBEAT_S = "RUNNER_HEARTBEAT_S"
PRELOAD = "RUNNER_PRELOAD"  # JSON list of modules to import ahead, or of `PRELOAD_OFF` alone
PRELOAD_FREE = "RUNNER_PRELOAD_FREE"  # bytes; with less free memory nothing is imported ahead
STATUS_DIR = "RUNNER_STATUS_DIR"
ORDERS_DIR = "RUNNER_ORDERS_DIR"  # without it they are in the status folder
WORKSPACE = "RUNNER_WORKSPACE"
PROJECT_DIR = "RUNNER_PROJECT_DIR"  # what fills the workspace
MOUNTS = "RUNNER_MOUNTS"  # JSON list of the user's mount targets
CHECKPOINTS = "RUNNER_CHECKPOINTS"
BECOME = "RUNNER_BECOME"  # uid:gid that root becomes, with the capabilities of `--relaxed`
LEASES = "RUNNER_LEASES"
PROVENANCE = "RUNNER_PROVENANCE"  # JSON object
COMPOSE_DIR = "RUNNER_COMPOSE"  # where Compose's services leave what they found out
GIVEN = "RUNNER_GIVEN"  # names, by comma: what the user set goes before what is found out

# what a run gets beside W&B's own
CHECKPOINT_DIR = "RUNNER_CHECKPOINT_DIR"

# what Compose's one-shot services are told
FLEET = "RUNNER_FLEET"
SERVER = "RUNNER_SERVER"
AGENTS = "RUNNER_AGENTS"  # names, by comma
SLOTS = "RUNNER_SLOTS"  # GPUs that are pinned, by comma
KEY_IS_GIVEN = "RUNNER_KEY_GIVEN"
COMPOSE_PROJECT = "COMPOSE_PROJECT_NAME"

# what an image says: which of its interpreters has the project's packages
PYTHON = "RUNNER_PYTHON"

PREFIX = "RUNNER_"

# W&B's
BASE_URL = "WANDB_BASE_URL"
ENTITY = "WANDB_ENTITY"
PROJECT = "WANDB_PROJECT"
MODE = "WANDB_MODE"
APP_URL = "WANDB_APP_URL"  # where a person sees the server
RUNS_DIR = "WANDB_DIR"
DATA_DIR = "WANDB_DATA_DIR"
CONFIG_DIR = "WANDB_CONFIG_DIR"  # of its settings file
API_KEY = "WANDB_API_KEY"  # a run's only, never a container's
SWEEP_ID = "WANDB_SWEEP_ID"
RUN_ID = "WANDB_RUN_ID"
RUN_VALUES = "WANDB_SWEEP_PARAM_PATH"  # a file, which `wandb.init` reads
RESUME = "WANDB_RESUME"

# devices and threads
CUDA_DEVICES = "CUDA_VISIBLE_DEVICES"
CUDA_ORDER = "CUDA_DEVICE_ORDER"
NVIDIA_DEVICES = "NVIDIA_VISIBLE_DEVICES"
NVIDIA_CAPABILITIES = "NVIDIA_DRIVER_CAPABILITIES"
THREADS = "OMP_NUM_THREADS"

PRELOAD_OFF = "off"
ONLINE, OFFLINE = "online", "offline"  # of `WANDB_MODE`
NO_DEVICES = "void"  # of `NVIDIA_VISIBLE_DEVICES`: CUDA's images say `all`
CAPABILITIES = "compute,utility"

CA_FILE = "SSL_CERT_FILE"  # OpenSSL's and Go's
TRUST = (CA_FILE, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # W&B's client heeds all of them

HOME = "HOME"
USER_NAMES = ("USER", "LOGNAME")  # a foreign uid has no passwd entry, and `getpass` would fail
USER = "runner"

CACHES: Mapping[str, str] = {
    "XDG_CACHE_HOME": paths.CACHE,
    "TORCH_HOME": f"{paths.CACHE}/torch",
    "TORCHINDUCTOR_CACHE_DIR": f"{paths.CACHE}/inductor",
    "TRITON_CACHE_DIR": f"{paths.CACHE}/triton",
    "CUDA_CACHE_PATH": f"{paths.CACHE}/cuda",
    "HF_HOME": f"{paths.CACHE}/huggingface",
    "MPLCONFIGDIR": f"{paths.CACHE}/matplotlib",
    "NUMBA_CACHE_DIR": f"{paths.CACHE}/numba",
    "WANDB_CACHE_DIR": f"{paths.CACHE}/wandb",
    CONFIG_DIR: f"{paths.HOME}/.config/wandb",  # an agent's own: server and sweep stand in it
}
"""Where libraries keep what can be made again; the user may name other places."""

FIXED: Mapping[str, str] = {
    HOME: paths.HOME,
    **dict.fromkeys(USER_NAMES, USER),
    KEY_FILE: paths.KEY,
    STATUS_DIR: paths.STATUS,
    ORDERS_DIR: paths.ORDERS,
    CHECKPOINTS: paths.CHECKPOINTS,
    LEASES: paths.LEASES,
    RUNS_DIR: paths.RUNS,
    DATA_DIR: paths.RUNS,
    CUDA_ORDER: "PCI_BUS_ID",  # NVML's and the host's order
}
"""The same in every agent, whoever starts it and wherever it runs."""

OF_RUNS: Mapping[str, str] = {
    "PYTHONUNBUFFERED": "1",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_HTTP_TIMEOUT": "600",  # the default of 19 s does not outlast a restart of the server
}
"""The same in every run."""

OF_OWN_LOGS: Mapping[str, str] = {"WANDB__TRANSACTION_LOG_FLUSH_INTERVAL": "1"}
"""A killed run loses a second of its log at most; where W&B has the rows, W&B's interval stays."""

OF_OUR_SERVER: Mapping[str, str] = {
    "WANDB__FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "5",
    "WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "2",
    "WANDB__FILE_TRANSFER_RETRY_WAIT_MAX_SECONDS": "5",
    "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS": "5",
}
"""Too often for W&B's cloud, which limits rates."""

MAY_BE_EMPTY = (
    *(COUNT, RUN_TIMEOUT_S, IDLE_TIMEOUT_S, PRELOAD, PRELOAD_FREE),
    *(CPUS, SLOT, PROGRAM, DEFAULT_PROGRAM, PROVENANCE, APP_URL),
)
"""Not said where it is empty: Compose cannot leave a variable out."""

_DECIDED = frozenset({*FIXED, BASE_URL, ENTITY, PROJECT, MODE, CUDA_DEVICES, NVIDIA_DEVICES})


def is_reserved(name: str) -> bool:
    """Whether we set this variable in every agent, so that nobody else can."""
    return name in _DECIDED or name.startswith(PREFIX)
