#!/bin/bash
# Runs `pip install …` with an index of torch's CPU wheels: `docker/torch-cpu.sh .venv/bin/pip install …`.
# docker/torch-index.sh finds the index. On a machine with an NVIDIA GPU it only runs pip.
set -euo pipefail

if [ -e /dev/nvidiactl ]; then
    args=("$@")
    for i in "${!args[@]}"; do # the pinned versions are for CPUs
        case ${args[i]} in --constraint) unset "args[i]" "args[i+1]" ;; esac
    done
    exec "${args[@]}"
fi
here=$(dirname "$0")
wanted=$(grep '^torch==' "$here/constraints-cpu.txt")
option=$("$here/torch-index.sh" "$wanted" "$1" install --ignore-installed)
# shellcheck disable=SC2086 # an option and its value, or nothing
exec "$@" $option
