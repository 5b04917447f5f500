#!/bin/bash
# Runs a command with a Docker engine: `docker/with-engine.sh COMMAND …`. Uses the engine that
# answers, else starts a private one and stops it afterwards, unless KEEP_ENGINE is set.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if docker info >/dev/null 2>&1; then
    exec "$@"
fi
started=0
if ! "$here/engine.sh" status >/dev/null 2>&1; then
    RUNNER_ENGINE_HOOKS=$here/../tests/rig/hooks "$here/engine.sh" up
    started=1
fi
finish() {
    if [ $started = 1 ] && [ -z "${KEEP_ENGINE:-}" ]; then "$here/engine.sh" down; fi
}
trap finish EXIT
eval "$("$here/engine.sh" env)"
"$here/engine.sh" base --cuda --tiny
"$here/engine.sh" compose >/dev/null || true # without it, tests with two versions are skipped
"$@"
