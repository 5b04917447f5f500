"""The agent's door to NVML.

A CPU slot never imports it: compiling `pynvml`, which a read-only mount makes each start do, takes
0.2 s (2 shared cores, 2026-11).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from runner.agent.contract.failures import HARMLESS_XIDS
from runner.agent.contract.slots import SlotId
from runner.agent.gpu import SeenGpu, Sight
from runner.agent.refusals import RefusedError

T = TypeVar("T")


def read_sight() -> Sight:
    """What NVML shows in this container; outside of one, without GPUs of others that are lost.

    Raises:
        RefusedError: NVML does not answer, or all GPUs are lost.
    """
    try:
        pynvml.nvmlInit()
        try:
            return Sight(_read_gpus(), str(pynvml.nvmlSystemGetDriverVersion()))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise RefusedError(f"NVML does not answer in this container: {error}") from error


_LOST = (15, 16)  # NVML's codes: the GPU is lost; it needs a reset
_ANY_INSTANCE = 0xFFFFFFFF


class OpenGpu:
    """One GPU or MIG slice, open for as long as its agent lives. A call may take long: a GPU that
    is about to fail does not answer.
    """

    def __init__(self, slot: SlotId) -> None:
        """Open it.

        Raises:
            RefusedError: NVML does not answer.
        """
        try:
            pynvml.nvmlInit()
            self._device = self._card = pynvml.nvmlDeviceGetHandleByUUID(slot.text)
            self._instance: int | None = None
            if slot.kind == "mig":
                self._card = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self._device)
                self._instance = pynvml.nvmlDeviceGetGpuInstanceId(self._device)
        except pynvml.NVMLError as error:
            raise RefusedError(f"NVML does not answer in this container: {error}") from error
        self._events = _try(self._watch_events)
        self._errors = _try(self._count_errors)

    def find_fault(self) -> str | None:
        """What has made the GPU unfit since it was opened or asked the last time."""
        if xid := self._find_xid():
            return xid
        try:
            pynvml.nvmlDeviceGetMemoryInfo(self._device)
        except pynvml.NVMLError as error:
            if error.value in _LOST:
                return str(error)
        errors = _try(self._count_errors)
        before, self._errors = self._errors, errors
        if errors is not None and before is not None and errors > before:
            return f"{errors - before} uncorrected memory errors (ECC)"
        return None

    def read_used_bytes(self) -> int | None:
        """Memory in use; None where NVML does not say."""
        memory = _try(lambda: pynvml.nvmlDeviceGetMemoryInfo(self._device))
        return None if memory is None else int(memory.used)

    def read_busy(self) -> bool | None:
        """Whether it computed lately; None where NVML does not say, as of a slice."""
        rates = _try(lambda: pynvml.nvmlDeviceGetUtilizationRates(self._device))
        return None if rates is None else rates.gpu > 0

    def _watch_events(self) -> Any:
        events = pynvml.nvmlEventSetCreate()
        pynvml.nvmlDeviceRegisterEvents(self._card, pynvml.nvmlEventTypeXidCriticalError, events)
        return events

    def _find_xid(self) -> str | None:
        while self._events is not None:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError as error:
                if error.value in _LOST:
                    return str(error)
                return None  # nothing happened
            other = event.gpuInstanceId not in (_ANY_INSTANCE, self._instance)
            if event.eventData not in HARMLESS_XIDS and not (self._instance is not None and other):
                return f"Xid {event.eventData}"
        return None

    def _count_errors(self) -> int:
        return int(
            pynvml.nvmlDeviceGetTotalEccErrors(
                self._card,
                pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                pynvml.NVML_VOLATILE_ECC,
            )
        )


def _try(ask: Callable[[], T]) -> T | None:
    """NVML's answer; None where this GPU, driver or container does not give it."""
    try:
        return ask()
    except pynvml.NVMLError:
        return None


def _read_gpus() -> tuple[SeenGpu, ...]:
    gpus, lost = [], None
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_read_gpu(pynvml.nvmlDeviceGetHandleByIndex(index)))
        except pynvml.NVMLError as error:  # noqa: PERF203 - each GPU fails alone
            if error.value not in _LOST:
                raise
            lost = error
    if lost and not gpus:
        raise lost
    return tuple(gpus)


def _read_gpu(handle: object) -> SeenGpu:
    return SeenGpu(
        pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle), _read_migs(handle)
    )


def _read_migs(handle: object) -> tuple[SeenGpu, ...]:
    migs = []
    try:
        count = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return ()
    for index in range(count):
        try:
            slice_ = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except (
            pynvml.NVMLError_NotFound,
            pynvml.NVMLError_NotSupported,
            pynvml.NVMLError_NoPermission,
        ):
            continue  # this place holds no slice, or one that this container was not given
        name = pynvml.nvmlDeviceGetName(slice_)
        migs.append(SeenGpu(pynvml.nvmlDeviceGetUUID(slice_), name))
    return tuple(migs)
