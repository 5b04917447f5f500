#!/bin/bash
# Checks that PYTHON and the other named programs exist: `docker/requirements.sh python3 cc`.
# As root on Debian it installs missing ones; otherwise it prints them.
set -euo pipefail

python=${1:-python3}
shift || true
missing=()
if ! "$python" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
    printf 'error: `%s` is not Python 3.11 or newer\nhint: make PYTHON=/path/to/python3.11 …\n' "$python" >&2
    exit 6
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
for program; do
    command -v "$program" >/dev/null && continue
    case $program in cc) missing+=(gcc libc6-dev) ;; *) missing+=("$program") ;; esac
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    printf 'installing %s\n' "${missing[*]}" >&2
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
else
    printf 'error: not installed: %s\nhint: sudo apt-get install -y %s\n' "${missing[*]}" "${missing[*]}" >&2
    exit 6
fi
