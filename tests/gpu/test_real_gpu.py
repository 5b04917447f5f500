"""What NVML shows of real cards, beside what `nvidia-smi` says; `pytest -m gpu tests/gpu`."""

import csv
import shutil
import subprocess

import pytest

from runner.agent.nvml import read_sight
from runner.gpus.gpu import Gpu

pytestmark = pytest.mark.gpu

FIELDS = "index,uuid,name,memory.total,driver_version,compute_cap"


def test_each_card_is_shown_as_nvidia_smi_shows_it(gpus: list[Gpu]) -> None:
    if shutil.which("nvidia-smi") is None:
        pytest.skip("gpu: there is no `nvidia-smi` to compare with")
    words = ["nvidia-smi", f"--query-gpu={FIELDS}", "--format=csv,noheader,nounits"]
    rows = csv.reader(subprocess.check_output(words, text=True).splitlines(), skipinitialspace=True)

    shown = [
        [
            str(gpu.index),
            gpu.uuid,
            gpu.name,
            str(gpu.memory_total_bytes >> 20),
            gpu.driver,
            ".".join(map(str, gpu.compute_capability or ())),
        ]
        for gpu in gpus
    ]

    assert shown == list(rows)


def test_an_agent_sees_the_same_cards(gpus: list[Gpu]) -> None:
    sight = read_sight()

    assert [one.uuid for one in sight.gpus] == [gpu.uuid for gpu in gpus]
    assert sight.driver == gpus[0].driver
