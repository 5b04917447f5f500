#!/bin/bash
# Runs a `pip install …` with torch's CPU wheels in reach: `docker/torch-cpu.sh .venv/bin/pip install …`.
# They come from the user's pip configuration if it offers them, else from PyTorch's CPU index
# if that answers within 3 s; else nothing is installed, since PyPI's torch brings CUDA by the gigabyte.
# Where an NVIDIA GPU is, pip is left alone.
set -euo pipefail

index=https://download.pytorch.org/whl/cpu
pip=$1
wanted=$(grep '^torch==' "$(dirname "$0")/constraints-cpu.txt")

if [ -e /dev/nvidiactl ]; then
    args=("$@")
    for i in "${!args[@]}"; do # the pinned pair is the CPU's
        case ${args[i]} in --constraint) unset "args[i]" "args[i+1]" ;; esac
    done
    exec "${args[@]}"
fi
if "$pip" install --quiet --dry-run --no-deps --ignore-installed "$wanted" >/dev/null 2>&1; then
    exec "$@"
fi
if "${PYTHON:-python3}" -c "import urllib.request as u; u.urlopen('$index/torch/', timeout=3)" 2>/dev/null; then
    exec "$@" --extra-index-url "$index"
fi
printf 'error: no CPU build of torch (%s) in reach\n' "$wanted" >&2
printf 'hint: point pip at one, e.g. `pip config set global.find-links FOLDER`\n' >&2
exit 6
