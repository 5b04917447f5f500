#!/bin/bash
# Runs a command with a Docker engine: the one that answers, else a private one, taken down again
# afterwards unless KEEP_ENGINE is set: `docker/with-engine.sh COMMAND …`.
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
"$here/engine.sh" compose >/dev/null || true # tests with two versions skip, and say so, without it
"$@"
