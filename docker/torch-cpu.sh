#!/bin/bash
# Runs a `pip install …` with torch's CPU wheels in reach: `docker/torch-cpu.sh .venv/bin/pip install …`.
# docker/torch-index.sh says from where. Where an NVIDIA GPU is, pip is left alone.
set -euo pipefail

if [ -e /dev/nvidiactl ]; then
    args=("$@")
    for i in "${!args[@]}"; do # the pinned pair is the CPU's
        case ${args[i]} in --constraint) unset "args[i]" "args[i+1]" ;; esac
    done
    exec "${args[@]}"
fi
here=$(dirname "$0")
wanted=$(grep '^torch==' "$here/constraints-cpu.txt")
option=$("$here/torch-index.sh" "$wanted" "$1" install --ignore-installed)
# shellcheck disable=SC2086 # an option and its value, or nothing
exec "$@" $option
