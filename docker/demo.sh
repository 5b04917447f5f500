#!/bin/bash
# The demo: a fleet of real containers runs a real sweep of real training.
#
#   docker/demo.sh up     engine (if none answers and this is root), image, server, sweep, fleet
#   docker/demo.sh down   removes all of it; lists apt packages that stay
#
# `make demo` and `make clean-demo` call it, after the command line is installed in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

runner=$PWD/.venv/bin/runner
mark=.demo # an empty file for each thing that the demo made, so that `down` removes only these

say() { printf '\n== %s\n' "$*" >&2; }
fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 6
}

use_engine() { # the one that answers, else a private one
    if docker info >/dev/null 2>&1; then
        return 0
    fi
    docker/engine.sh status >/dev/null 2>&1 || return 1
    eval "$(docker/engine.sh env)"
}

bring_up_engine() {
    if use_engine; then
        return
    fi
    [ "$(id -u)" = 0 ] || fail "no Docker engine answers, and only root can bring one up" \
        "start yours (\`sudo systemctl start docker\`), or run \`sudo make demo\`"
    say "no Docker engine answers: starting a private one (as root, from Debian's packages)"
    touch $mark/engine
    docker/engine.sh up
    eval "$(docker/engine.sh env)"
}

have_base() { # the Dockerfile's base image, made here if no registry answers
    local image=$1 flag=${2:-}
    docker image inspect "$image" >/dev/null 2>&1 && return
    docker pull --quiet "$image" >/dev/null 2>&1 && return
    [ "$(id -u)" = 0 ] || fail "the base image \`$image\` is not there, and no registry answers" \
        "as root: \`docker/engine.sh base $flag\`"
    say "no registry answers: making $image from Debian's packages"
    # shellcheck disable=SC2086
    docker/engine.sh base $flag
}

up() {
    local started=$SECONDS build=(--cpu) gpus=cpu:2 sweep
    mkdir -p $mark
    [ -e .runner/fleet ] || touch $mark/state
    bring_up_engine
    have_base debian:bookworm-slim # the server's
    if "$runner" gpus --json 2>/dev/null | grep '"index"' >/dev/null; then
        have_base nvidia/cuda:13.0.2-base-ubuntu24.04 --cuda
        build=()
        gpus=free:2
    fi
    say "building the image of amt, this folder's project"
    "$runner" build "${build[@]}"
    say "creating a sweep on this folder's own server"
    sweep=$("$runner" sweep create amt/tiny_sweep.yaml --server local)
    say "starting two agents, each in its container"
    "$runner" up --server local --gpus "$gpus" --sweep "$sweep" --follow --again
    say "the best run"
    "$runner" sweep show "$sweep" --server local --json | .venv/bin/python docker/demo_report.py
    printf 'the demo took %d s; next:\n' $((SECONDS - started))
    printf '  .venv/bin/runner ps\n  .venv/bin/runner sweep show %s\n' "${sweep##*/}"
    printf '  .venv/bin/runner sweep best %s\n  make clean-demo\n' "${sweep##*/}"
}

down() {
    if [ ! -d $mark ]; then
        echo "there is no demo to remove" >&2
        return
    fi
    if use_engine && [ -e .runner/fleet ]; then
        "$runner" down
    fi
    if [ -e $mark/engine ]; then
        docker/engine.sh down
    fi
    if [ -e $mark/state ]; then
        rm -rf .runner
    fi
    rm -rf $mark
    echo "removed the demo; .venv stays (\`make clean\` removes it)" >&2
}

case "${1:-}" in
up | down) "$1" ;;
*)
    sed -n '2,7p' "$0"
    exit 2
    ;;
esac
