"""Bounds of containers, and how long host and container wait for each other."""

AGENT_PIDS = 16_384  # loader workers times threads on a large host
AGENT_TMPFS = "rw,exec,nosuid,nodev,mode=1777"  # inductor and triton load what they compile there
ROOT_TMPFS = "rw,nosuid,nodev,noexec,size=1m,mode=0700"  # whose only purpose is that mode
SERVICE_PIDS = 512  # the server's, and those of Compose's one-shot services
SERVICE_TMPFS = "rw,nosuid,nodev,noexec,size=256m,mode=1777"

RELAXED = ("CHOWN", "DAC_OVERRIDE", "FOWNER")  # of runs with `--relaxed`: any file of the image
TO_BECOME = ("SETUID", "SETGID", "KILL")  # the agent's way there; the init passes signals to it

RESTART = "on-failure:3"  # of an agent: three more tries
GRACE_S = 30  # from SIGTERM to SIGKILL, unless the user says otherwise
STOP_MARGIN_S = 5  # over the run's grace: the agent reports, then leaves
SERVER_GRACE_S = 15
SERVER_MEMORY = 2 << 30  # bytes; it uses up to 200 MiB, and the limit also counts its disk cache

LOG_SIZE = "50m"  # of the engine's log of a container, then it begins another one
LOG_FILES = "3"

PRELOAD_FREE = 1 << 30  # bytes; with less free memory nothing is imported ahead

RELEASE_S = 30.0  # a GPU's memory may stay in use so long after a run
HEARTBEAT_S = 5.0  # between two that an agent sends to its server
STATUS_EVERY_S = 10.0  # an agent writes its status file at least so often
STATUS_STALE_S = 60.0  # one that is older is no sign of life
