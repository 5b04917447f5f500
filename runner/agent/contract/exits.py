"""Exit codes: those of an agent, and those by which a run's program says how it ended."""

# of an agent
AGENT_DONE = 0
AGENT_CRASHED = 1
AGENT_REFUSED = 69  # the engine tries three more times, then leaves it down
AGENT_STOPPED = 143  # as a shell has SIGTERM; the engine starts it again after its own restart
AGENT_KILLED = 137  # not its own: SIGKILL came

# of a run's program
RUN_FINISHED = 0
RUN_BAD_CONFIG = 2  # as argparse has it
RUN_NOT_FINITE = 65
RUN_PREEMPTED = 75  # saved, run me again
RUN_NOT_STARTED = 127  # as a shell has it
