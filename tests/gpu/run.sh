#!/bin/bash
# What the tests cannot see without a card, in under 8 minutes: for a machine with one NVIDIA GPU,
# without Docker. `PYTHON=… tests/gpu/run.sh`: an interpreter with torch for CUDA and what
# `pip install . pytest pytest-timeout` installs; by default that of `.venv`, else `python3`.
# Prints the tests, the table of gaps between two runs, and the last line `ok`.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo "$PWD/.venv/bin/python" || command -v python3)}
"$python" -I - <<'CHECK' # without the folder `wandb` that runs leave here
import sys
missing = []
for name in ("torch", "wandb", "pynvml", "pytest", "pytest_timeout", "httpx", "uvicorn"):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
if missing:
    sys.exit(f"error: {sys.executable} lacks {', '.join(missing)}\nhint: name another: PYTHON=…")
import torch
if not torch.cuda.is_available():
    sys.exit(f"error: torch {torch.__version__} of {sys.executable} sees no GPU")
print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}, CUDA {torch.version.cuda}")
CHECK
export RUNNER_REQUIRE=gpu
uuid=$("$python" -c 'from runner.gpus.nvml import read_gpus; print(read_gpus()[0].uuid)')
timeout 240 "$python" -m pytest -q -s -m gpu tests/gpu
timeout 230 "$python" -m tests.bench.gap --rounds 1 --size 8 --gpu "$uuid"
echo ok
