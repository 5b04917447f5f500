"""Paths inside containers: what is mounted where, and where our images have their parts."""

# an agent's mounts
RUNS = "/runs"
WORKSPACE = "/workspace"  # its copy of the project
CHECKPOINTS = "/checkpoints"
CACHE = "/cache"
LEASES = "/leases"  # the file of its GPU, by the UUID
FOR_ROOT = "/run/runner-root"  # a folder that only root may enter
ALL_LEASES = f"{FOR_ROOT}/leases"  # the host's folder, where no UUID is known before
STATUS = "/status"  # what it writes about itself
ORDERS = "/orders"  # what the host tells it, to be read only
CODE = "/opt/runner"  # the agent's own
SECRETS = "/run/runner"
KEY = f"{SECRETS}/key"
CA_BUNDLE = f"{SECRETS}/ca.pem"
COMPOSE = "/compose"

OWN_MOUNTS = (RUNS, CHECKPOINTS, CACHE, LEASES, STATUS, ORDERS, CODE, SECRETS, FOR_ROOT)
"""Where the user mounts nothing; the place for that is below `WORKSPACE`."""

# tmpfs, in which a read-only root file system leaves room to write
TEMPORARY = "/tmp"  # noqa: S108 - a container's own
HOME = "/home/runner"

# our images
PROJECT = "/opt/project"
BESIDE = "/opt/beside"  # folders beside the project that it needs: members of its workspace
VENV = "/opt/venv"
INTERPRETER = f"{VENV}/bin/python"

# the server's container, and Compose's services beside it
DATA = "/data"
HOST_PROJECT = "/project"  # the folder of compose.yaml
GIVEN_KEY = f"{SECRETS}/given"  # as the caller has it: a key, or a .netrc
GIVEN_CA = f"{SECRETS}/given-ca"

# the host's
HOST_LEASES = "/var/tmp/runner-leases"  # noqa: S108 - shared by all users of the host on purpose

# files in `COMPOSE`, and in the folder of the host that is mounted there
SWEEP_FILE = "sweep"  # the path of the sweep
PROVENANCE_FILE = "provenance.json"  # what is known of the sweep alone
SERVER_FILE = "server.json"  # see `servers`
CODE_LINK = "code"  # to the bundle of the agents' code
EXTRA_FILE = "extra.yaml"  # mounts and variables of the user's
