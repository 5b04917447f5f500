"""NVML without a GPU: build `fake_nvml.c`, write its report, and give it to containers.

with FakeNvml([FakeGpu(used_mib=40000), FakeGpu()]) as nvml:
    nvml.add_to_engine(cdi_folder)
    subprocess.run([...], env=os.environ | nvml.env())
    nvml.write([replace(nvml.gpus[0], error=GPU_IS_LOST), *nvml.gpus[1:]])
"""

import hashlib
import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

LIBRARY = "libnvidia-ml.so.1"
SOURCE = Path(__file__).with_name("fake_nvml.c")
NOT_SUPPORTED, DRIVER_NOT_LOADED, GPU_IS_LOST, UNKNOWN = 3, 9, 15, 999
_IN_CONTAINER = "/run/fake-nvml"
_FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-fPIC", "-fvisibility=hidden", "-shared")


@dataclass(frozen=True, slots=True)
class FakeProcess:
    """A process on a GPU or a slice; `used_mib` is None if NVML does not report it."""

    pid: int
    used_mib: int | None = 400
    gpu_instance: int | None = None
    compute_instance: int | None = None

    def __str__(self) -> str:
        """The value of the keys `process` and `graphics`."""
        parts = [self.pid, "-" if self.used_mib is None else self.used_mib]
        if self.gpu_instance is not None:
            parts += [self.gpu_instance, self.compute_instance or 0]
        return " ".join(map(str, parts))


@dataclass(frozen=True, slots=True)
class FakeSlice:
    """A MIG slice; `cap` is the minor number of its device node, usually 9 times the GPU's."""

    uuid: str = field(default_factory=lambda: f"MIG-{uuid.uuid4()}")
    gpu_instance: int = 1
    compute_instance: int = 0
    total_mib: int = 20096
    used_mib: int = 0
    cap: int = 30
    name: str = "NVIDIA H100 80GB HBM3 MIG 2g.20gb"

    def __str__(self) -> str:
        """The value of the key `mig`."""
        ids = f"{self.uuid} {self.gpu_instance} {self.compute_instance}"
        return f"{ids} {self.total_mib} {self.used_mib} {self.cap} {self.name}"


@dataclass(frozen=True, slots=True)
class FakeGpu:
    """NVML's report about one GPU; None is the library's default, an idle H100."""

    uuid: str = field(default_factory=lambda: f"GPU-{uuid.uuid4()}")
    name: str | None = None
    pci: str | None = None
    minor: int | None = None
    total_mib: int | None = None
    used_mib: int | None = None
    util_gpu: int | None = None
    temperature: int | None = None
    power_mw: int | None = None
    compute_mode: int | None = None
    cc: str | None = None
    mig_mode: int | None = None
    error: int | None = None  # error code of every call on it
    xid: tuple[int, int] | None = None  # serial, code
    ecc: int | None = None  # uncorrected memory errors
    process: tuple[FakeProcess, ...] = ()
    graphics: tuple[FakeProcess, ...] = ()
    mig: tuple[FakeSlice, ...] = ()
    fail: tuple[tuple[str, int], ...] = ()  # NVML's function, its code

    def lines(self) -> Iterator[str]:
        """The lines of its section in the file."""
        yield "[gpu]"
        for one in fields(self):
            match value := getattr(self, one.name):
                case None:
                    continue
                case (int(serial), int(code)):
                    yield f"{one.name} = {serial} {code}"
                case tuple():
                    for item in value:
                        text = " ".join(map(str, item)) if isinstance(item, tuple) else item
                        yield f"{one.name} = {text}"
                case _:
                    yield f"{one.name} = {value}"


class FakeNvml:
    """A machine with these GPUs, for processes that get `env()` and containers with CDI."""

    def __init__(self, gpus: Sequence[FakeGpu], **machine: str | int) -> None:
        """`machine`: driver_version, cuda_version, init_error, as in fake_nvml.c."""
        self.library = build_library()
        self.folder = Path(tempfile.mkdtemp(prefix="fake-nvml-"))
        self.folder.chmod(0o755)  # containers of other users read it
        self.config = self.folder / "nvml.ini"
        self._specs: list[Path] = []
        self.write(gpus, **machine)

    def __enter__(self) -> Self:
        """Return the machine."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the GPUs from the engine, and the file."""
        for spec in self._specs:
            spec.unlink(missing_ok=True)
        shutil.rmtree(self.folder)

    def write(self, gpus: Sequence[FakeGpu], **machine: str | int) -> None:
        """Change the machine at once, also for programs that watch it."""
        self.gpus = tuple(gpus)
        lines = [f"{key} = {value}" for key, value in machine.items()]
        for gpu in gpus:
            lines += gpu.lines()
        _replace(self.config, "\n".join(lines) + "\n")

    def env(self) -> dict[str, str]:
        """The environment that makes a new process on the host load the library."""
        path = [str(self.library.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return {"FAKE_NVML_CONFIG": str(self.config), "LD_LIBRARY_PATH": ":".join(path)}

    def add_to_engine(self, cdi_folder: Path, *, indices: bool = False) -> Path:
        """Write a CDI spec that offers the GPUs by UUID, and `indices` by 0, 1, … and `all`.

        Two specs with the same name conflict: use indices that no other test uses.
        """
        spec = cdi_folder / f"{self.folder.name}.json"
        self._specs.append(spec)
        _replace(spec, json.dumps(self._cdi_spec(indices=indices), indent=2))
        return spec

    def add_to_hook(self, folder: Path) -> Path:
        """Write the GPUs, by UUID and index, for the stand-in of NVIDIA's hook in `folder`."""
        nodes = {gpu.uuid: self._node_path(index) for index, gpu in enumerate(self.gpus)}
        nodes |= {str(index): self._node_path(index) for index in range(len(self.gpus))}
        machine = {
            "library": str(self.library),
            "config": str(self.config),
            "multiarch": _multiarch(),
            "nodes": nodes,
        }
        (folder / "gpus").mkdir(exist_ok=True)
        file = folder / "gpus" / f"{self.folder.name}.json"
        self._specs.append(file)
        _replace(file, json.dumps(machine, indent=2))
        return file

    def _node_path(self, index: int) -> str:
        minor = self.gpus[index].minor
        return f"/dev/nvidia{index if minor is None else minor}"

    def _cdi_spec(self, *, indices: bool) -> dict[str, object]:
        devices, every = [], []
        for index, gpu in enumerate(self.gpus):
            node = _node(self._node_path(index))
            names = [gpu.uuid, str(index)] if indices else [gpu.uuid]
            devices += [_device(name, [node]) for name in names]
            caps = [_node(f"/dev/nvidia-caps/nvidia-cap{one.cap}") for one in gpu.mig]
            devices += [
                _device(one.uuid, [node, cap]) for one, cap in zip(gpu.mig, caps, strict=True)
            ]
            every += [node, *caps]
        if indices:
            devices.append(_device("all", every))
        edits = {
            # as NVIDIA's specs do: the first keeps the legacy hook out
            "env": [
                "NVIDIA_VISIBLE_DEVICES=void",
                f"FAKE_NVML_CONFIG={_IN_CONTAINER}/{self.config.name}",
                "FAKE_NVML_NEED_DEVICE_NODE=1",
            ],
            "mounts": [
                _mount(self.library, f"/usr/lib/{_multiarch()}/{LIBRARY}"),
                _mount(
                    self.folder, _IN_CONTAINER
                ),  # mount the folder: a mounted file would not follow a rename
            ],
        }
        return {
            "cdiVersion": "0.5.0",
            "kind": "nvidia.com/gpu",
            "devices": devices,
            "containerEdits": edits,
        }


def build_library() -> Path:
    """Compile the library into the user's cache, by the hash of its source.

    Raises:
        FileNotFoundError: there is no C compiler `cc`.
    """
    tag = hashlib.sha256(SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"runner-rig-{os.getuid()}" / tag
    library = folder / LIBRARY
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f"{LIBRARY}.{os.getpid()}"
        command = ["cc", *_FLAGS, "-pthread", f"-Wl,-soname,{LIBRARY}", "-o", str(new), str(SOURCE)]
        subprocess.run(command, check=True)
        new.rename(library)
    return library


def _multiarch() -> str:
    return sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"


def _node(path: str) -> dict[str, object]:
    """A device node with the numbers of /dev/null; the host does not need one."""
    numbers = {"type": "c", "major": 1, "minor": 3}
    return {"path": path, **numbers, "permissions": "rw", "fileMode": 0o666}


def _device(name: str, nodes: list[dict[str, object]]) -> dict[str, object]:
    return {"name": name, "containerEdits": {"deviceNodes": nodes}}


def _mount(source: Path, target: str) -> dict[str, object]:
    options = ["ro", "nosuid", "nodev", "bind"]
    return {"hostPath": str(source), "containerPath": target, "options": options}


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")  # CDI reads only *.json and *.yaml
    new.write_text(text)
    new.chmod(0o644)
    new.rename(path)
