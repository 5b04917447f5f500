"""Labels and names of containers, networks and images: the engine's record of a fleet."""

# containers
ROLE = "dev.runner.role"
FLEET = "dev.runner.fleet"
AGENT = "dev.runner.agent"  # of Compose's: its container may have another name
SLOT = "dev.runner.gpu"  # see `slots`; of a command's container several, by comma
SWEEP = "dev.runner.sweep"
SERVER = "dev.runner.server"  # `local`, or W&B's URL
IMAGE = "dev.runner.image"  # its ID
SETTINGS = "dev.runner.settings"  # a hash of what the user asked for
SCHEMA = "dev.runner.schema"  # of what a container and its host leave for each other
NETWORK = "dev.runner.network"  # where Compose's server is
COMMAND = "dev.runner.command"  # of `runner run`: what was typed
KEEPS_FOR = "dev.runner.keeps"  # of a placeholder: the ID of the container whose GPU it keeps

SCHEMA_VERSION = "2"
SHARED_STATUS = "1"  # the schema whose agents have one status folder together
BY_COMPOSE = "compose"  # in place of the hash: Compose itself sees changes

# values of `ROLE`
AGENT_ROLE = "agent"
SERVER_ROLE = "server"
INIT_ROLE = "init"
SWEEP_ROLE = "sweep"

# images
KIND = "dev.runner.kind"  # `agent` or `server`, on every image that runner built
VARIANT = "dev.runner.variant"
RECIPE = "dev.runner.recipe"  # `ours`, or `dockerfile` where the user's own says what is in it
PROJECT_HASH = "dev.runner.project.hash"
PROJECT_COMMIT = "dev.runner.project.commit"
PROJECT_DIRTY = "dev.runner.project.dirty"

# Compose's own
COMPOSE_FOLDER = "com.docker.compose.project.working_dir"

NAME_PREFIX = "runner-"
ID_DIGITS = 12  # of a container's ID: its host name, and its name in files


def container_name(agent: str) -> str:
    """What the engine lets exist once: the container of the agent of this name."""
    return f"{NAME_PREFIX}{agent}"


def server_name(fleet: str) -> str:
    """The container of a fleet's own server."""
    return f"{NAME_PREFIX}{fleet}-server"


def network_name(fleet: str) -> str:
    """The user-defined network of a fleet and its server."""
    return f"{NAME_PREFIX}{fleet}"


def short_id(container: str) -> str:
    """A container's ID as status files have it."""
    return container[:ID_DIGITS]
