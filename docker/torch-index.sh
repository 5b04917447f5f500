#!/bin/sh
# Prints the option that leads an installer to torch: `torch-index.sh REQUIREMENT INSTALLER…`, such
# as `torch-index.sh torch==2.13.0+cpu .venv/bin/pip install`.
#
# For a build for CPUs (`+cpu`) it prints nothing where the installer's own sources have it, else
# `--extra-index-url` with PyTorch's index for CPUs, or TORCH_INDEX, if that answers within 3 s.
# Else it ends with 6: PyPI's torch would bring CUDA by the gigabyte.
# For other builds it prints the option for TORCH_INDEX, if that is set.
set -eu

wanted=$1
shift
case $wanted in
*+cpu) index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu} ;;
*)
    [ -z "${TORCH_INDEX:-}" ] || echo "--extra-index-url $TORCH_INDEX"
    exit 0
    ;;
esac
if "$@" --quiet --dry-run --no-deps "$wanted" >/dev/null 2>&1; then
    exit 0
fi
ask='import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=3)'
if "${PYTHON:-python3}" -c "$ask" "$index/torch/" 2>/dev/null; then
    echo "--extra-index-url $index"
    exit 0
fi
echo "error: no build of torch for CPUs ($wanted) is in reach" >&2
echo "hint: let this machine reach $index, or point pip at a folder that has the wheel:" \
    "\`pip config set global.find-links FOLDER\`" >&2
exit 6
