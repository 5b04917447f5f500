"""Every command of `runner`: its module and its line in `--help`."""

from runner.cli.lazy import Entry

BEGIN, RUN, LOOK, SWEEPS, SERVER = "Begin", "Run", "Look", "Sweeps and W&B", "Server"

COMMANDS = (
    Entry(
        "init",
        "runner.cli.init:init",
        "Write runner.toml, and an example sweep if there is none.",
        BEGIN,
    ),
    Entry(
        "build",
        "runner.cli.build:build",
        "Build this project's image if anything has changed.",
        BEGIN,
    ),
    Entry(
        "doctor", "runner.cli.doctor:doctor", "Check this machine; each problem has a fix.", BEGIN
    ),
    Entry(
        "config", "runner.cli.config:config", "Show every setting and where it comes from.", BEGIN
    ),
    Entry("up", "runner.cli.up:up", "Run one agent on each selected GPU.", RUN),
    Entry("run", "runner.cli.run:run", "Run one command on one or several GPUs.", RUN),
    Entry("stop", "runner.cli.stop:stop", "Stop agents; their runs finish a step and save.", RUN),
    Entry(
        "down",
        "runner.cli.down:down",
        "Stop the fleet and remove its containers; data stays.",
        RUN,
    ),
    Entry(
        "prune", "runner.cli.prune:prune", "Delete old images, containers and working copies.", RUN
    ),
    Entry(
        "compose",
        "runner.cli.compose:compose",
        "Write GPUs, sweep and images for `docker compose up`.",
        RUN,
    ),
    Entry("ps", "runner.cli.ps:ps", "Show each agent, its GPU and its run.", LOOK),
    Entry("logs", "runner.cli.logs:logs", "Show the log lines of agents and runs.", LOOK),
    Entry("gpus", "runner.cli.gpus:gpus", "Show this machine's GPUs and who uses each.", LOOK),
    Entry("sweep", "runner.cli.sweep:app", "Create sweeps and look at them.", SWEEPS),
    Entry(
        "sync-offline",
        "runner.cli.sync_offline:sync_offline",
        "Send offline runs to W&B, each once, and verify them.",
        SWEEPS,
    ),
    Entry("env", "runner.cli.env:env", "Print what a shell needs to use the same server.", SWEEPS),
    Entry("serve", "runner.cli.serve:serve", "Run the sweep server in the foreground.", SERVER),
    Entry(
        "server",
        "runner.cli.server:app",
        "Look at this folder's sweep server, back it up, make room.",
        SERVER,
    ),
)

SWEEP_COMMANDS = (
    Entry("create", "runner.cli.sweep.create:create", "Check a sweep file and create its sweep."),
    Entry("list", "runner.cli.sweep.list:list_", "Show the sweeps of this folder, oldest first."),
    Entry("show", "runner.cli.sweep.show:show", "Show a sweep's runs and the best so far."),
    Entry("best", "runner.cli.sweep.best:best", "Print the best run's configuration as YAML."),
    Entry(
        "delete",
        "runner.cli.sweep.delete:delete",
        "Delete a sweep with its runs, files and artifacts.",
    ),
)

SERVER_COMMANDS = (
    Entry("status", "runner.cli.server.status:status", "Show the address and state of the server."),
    Entry(
        "backup",
        "runner.cli.server.backup:backup",
        "Copy everything that the running server keeps.",
    ),
    Entry(
        "check", "runner.cli.server.check:check", "Check the data of a stopped server for faults."
    ),
    Entry(
        "usage",
        "runner.cli.server.usage:usage",
        "Show how much room each project and sweep takes.",
    ),
    Entry(
        "prune", "runner.cli.server.prune:prune", "Delete ended runs that nobody needs any more."
    ),
    Entry("key", "runner.cli.server.key:app", "Make keys that only read, or only serve one sweep."),
)

KEY_COMMANDS = (
    Entry("create", "runner.cli.server.key:create", "Make a key; it is shown only once."),
    Entry("list", "runner.cli.server.key:list_keys", "Show the keys, without their secrets."),
    Entry(
        "revoke", "runner.cli.server.key:revoke", "Revoke a key; doing it again changes nothing."
    ),
)
