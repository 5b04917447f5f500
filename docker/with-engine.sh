#!/bin/bash
# Runs a command with a Docker engine: `docker/with-engine.sh COMMAND …`. Uses the engine that
# answers, else starts a private one and stops it afterwards, unless KEEP_ENGINE is set.
# `--meanwhile LINE` first: a line of the shell that needs no engine, beside the start of the engine.
# `--trixie` then: with the base of Debian 13 too.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
meanwhile=true
if [ "$1" = --meanwhile ]; then
    meanwhile=$2
    shift 2
fi
bases=(--cuda --tiny)
if [ "$1" = --trixie ]; then
    bases+=(--trixie)
    shift
fi

if docker info >/dev/null 2>&1; then
    bash -euc "$meanwhile"
    exec "$@"
fi
set -m # a job of its own: else it would ignore Ctrl-C, and so would what it starts
bash -euc "$meanwhile" &
set +m
other=$!
started=0
finish() {
    if [ -n "$other" ]; then kill -- "-$other" 2>/dev/null || true; fi
    if [ $started = 1 ] && [ -z "${KEEP_ENGINE:-}" ]; then "$here/engine.sh" down; fi
}
trap finish EXIT
if ! "$here/engine.sh" status >/dev/null 2>&1; then
    RUNNER_ENGINE_HOOKS=$here/../tests/rig/hooks "$here/engine.sh" up
    started=1
fi
eval "$("$here/engine.sh" env)"
"$here/engine.sh" base "${bases[@]}"
"$here/engine.sh" compose >/dev/null || true # without it, tests with two versions are skipped
wait "$other"
other=
"$@"
