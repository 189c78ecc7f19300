"""NVML's calls, translated: our structs for answers, NvmlTrouble for errors. Used on the driver's thread only, and imported
there: this is the one module that imports pynvml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar, assert_never

import pynvml
from msgspec import Struct
from msgspec.structs import replace

from engine.devices.cards import Figure, GpuFacts, GpuMemory, GpuProcess
from engine.devices.processes import ProcessTable
from engine.devices.troubles import NvmlTrouble, TroubleKind

_T = TypeVar("_T")

_KINDS: Final[dict[int, TroubleKind]] = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "library_missing",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "driver_not_loaded",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "version_mismatch",
    pynvml.NVML_ERROR_UNINITIALIZED: "uninitialized",
    pynvml.NVML_ERROR_GPU_IS_LOST: "lost",
    pynvml.NVML_ERROR_RESET_REQUIRED: "reset_required",
    pynvml.NVML_ERROR_NO_PERMISSION: "no_permission",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "not_supported",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "not_supported",
    # A struct of another version than the driver's: the driver is older than the call.
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "not_supported",
}


_MOST_BYTES: Final = 1 << 50
_MOST: Final[dict[Figure, float]] = {
    "temperature_c": 150,
    "power_w": 5_000,
    "power_limit_w": 5_000,
    "utilization_percent": 100,
    "clocks_mhz": 20_000,
}
"""More than any card has. Drivers tell a sensor that they can't read as 4294967295, or as whatever lay in memory."""
_MOST_PCIE: Final = 64
"""Of generations and of lanes."""


class Opened(Struct, frozen=True):
    """The library, once it is initialised."""

    count: int
    """Of cards, answering or not."""
    driver_version: str | None
    cuda_driver_version: tuple[int, int] | None


class Driver:
    def __init__(self) -> None:
        self._is_open = False
        self._handles: dict[str, Any] = {}
        self._processes_of_host: Final = ProcessTable()
        self._lacking: set[tuple[str, str]] = set()
        """(uuid, call): what the driver said it does not support. It is not asked again."""

    # ── the library ──────────────────────────────────────────────────────────────────────────────

    def open(self) -> Opened:
        """Initialise the library, anew where it was initialised before. What was known of cards is forgotten."""
        self.close()
        with _troubles():
            pynvml.nvmlInit()
        self._is_open = True
        cuda = self._known("", "cuda_driver_version", pynvml.nvmlSystemGetCudaDriverVersion)
        return Opened(
            self.count(),
            self._known("", "driver_version", pynvml.nvmlSystemGetDriverVersion),
            None if cuda is None else (cuda // 1000, cuda % 1000 // 10),
        )

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._handles.clear()
            self._lacking.clear()
            with suppress(pynvml.NVMLError):  # it may have forgotten by itself that it was initialised
                pynvml.nvmlShutdown()

    def count(self) -> int:
        with _troubles():
            return int(pynvml.nvmlDeviceGetCount())

    # ── what never changes ───────────────────────────────────────────────────────────────────────

    def describe(self, index: int, driver_version: str | None) -> tuple[GpuFacts, ...]:
        """The card at `index` and its MIG devices."""
        with _troubles():
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = str(pynvml.nvmlDeviceGetUUID(handle))
        self._handles[uuid] = handle
        mig_mode = self._known(uuid, "mig_mode", lambda: pynvml.nvmlDeviceGetMigMode(handle)[0])
        card = GpuFacts(
            index,
            uuid,
            *self._name_and_memory(uuid),
            self._known(uuid, "capability", lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
            driver_version,
            self._of_the_link(uuid, "pcie_generation", lambda: pynvml.nvmlDeviceGetCurrPcieLinkGeneration(handle)),
            self._of_the_link(uuid, "pcie_max_generation", lambda: pynvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)),
            self._of_the_link(uuid, "pcie_width", lambda: pynvml.nvmlDeviceGetCurrPcieLinkWidth(handle)),
            self._of_the_link(uuid, "pcie_max_width", lambda: pynvml.nvmlDeviceGetMaxPcieLinkWidth(handle)),
            is_partitioned=mig_mode == pynvml.NVML_DEVICE_MIG_ENABLE,
            bus_id=self._known(uuid, "bus_id", lambda: str(pynvml.nvmlDeviceGetPciInfo(handle).busId)),
        )
        return (card, *(self._describe_parts(card) if card.is_partitioned else ()))

    def _of_the_link(self, uuid: str, name: str, call: Callable[[], int]) -> int | None:
        told = self._known(uuid, name, call)
        return told if told is not None and told <= _MOST_PCIE else None

    def _describe_parts(self, card: GpuFacts) -> Iterator[GpuFacts]:
        handle = self._handles[card.uuid]
        with _troubles():
            places = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
        for place in range(places):
            with _troubles():
                try:
                    part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
                except pynvml.NVMLError_NotFound:
                    continue  # a place that no MIG device has taken
                uuid = str(pynvml.nvmlDeviceGetUUID(part))
            self._handles[uuid] = part
            name, total_bytes, reserved_bytes = self._name_and_memory(uuid)
            yield replace(
                card,
                uuid=uuid,
                name=name,
                total_bytes=total_bytes,
                reserved_bytes=reserved_bytes,
                is_mig=True,
                is_partitioned=False,
                parent_uuid=card.uuid,
            )

    def _name_and_memory(self, uuid: str) -> tuple[str, int | None, int | None]:
        name = self._known(uuid, "name", lambda: pynvml.nvmlDeviceGetName(self._handles[uuid]))
        memory = _unless_troubled(lambda: self.memory(uuid))
        if memory is None:
            return name or "NVIDIA GPU", None, None
        return name or "NVIDIA GPU", memory.total_bytes, memory.reserved_bytes

    # ── what changes ─────────────────────────────────────────────────────────────────────────────

    def memory(self, uuid: str) -> GpuMemory:
        """By the second version of the call, which keeps apart what the driver reserves; where there is none, by the first."""
        handle = self._handle(uuid)
        try:
            told = self._ask(
                uuid, "memory_v2", lambda: pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
            )
        except NvmlTrouble as trouble:
            if trouble.kind != "not_supported":
                raise
            told = self._ask(uuid, "memory_v1", lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
            return _believed_memory(GpuMemory(told.total, told.used, told.free, None))
        return _believed_memory(GpuMemory(told.total, told.used, told.free, told.reserved))

    def figure(self, uuid: str, figure: Figure) -> object:
        """The value of the field of Activity that `figure` names. Raises NvmlTrouble, also for one that can't be."""
        told = self._told(uuid, figure)
        numbers = told if isinstance(told, tuple) else (told,)
        if figure in _MOST and not all(0 <= number <= _MOST[figure] for number in numbers):
            raise NvmlTrouble("other", f"{told} can't be: {figure} is at most {_MOST[figure]}")
        return told

    def _told(self, uuid: str, figure: Figure) -> Any:  # noqa: ANN401
        handle = self._handle(uuid)
        match figure:
            case "processes":
                return self._processes(uuid, handle)
            case "temperature_c":
                sensor = pynvml.NVML_TEMPERATURE_GPU
                return self._ask(uuid, figure, lambda: pynvml.nvmlDeviceGetTemperature(handle, sensor))
            case "power_w":
                return self._ask(uuid, figure, lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000)
            case "power_limit_w":
                return self._ask(uuid, figure, lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000)
            case "utilization_percent":
                return self._ask(uuid, figure, lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            case "clocks_mhz":
                clocks = (pynvml.NVML_CLOCK_GRAPHICS, pynvml.NVML_CLOCK_MEM)
                return self._ask(
                    uuid, figure, lambda: tuple(pynvml.nvmlDeviceGetClockInfo(handle, clock) for clock in clocks)
                )
            case "fan_percent":
                return self._ask(uuid, figure, lambda: pynvml.nvmlDeviceGetFanSpeed(handle))
            case "performance_state":
                state = self._ask(uuid, figure, lambda: pynvml.nvmlDeviceGetPerformanceState(handle))
                return None if state == pynvml.NVML_PSTATE_UNKNOWN else state
            case _:
                assert_never(figure)

    def _processes(self, uuid: str, handle: object) -> tuple[GpuProcess, ...]:
        compute = self._ask(uuid, "compute", lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
        graphics = self._known(uuid, "graphics", lambda: pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle))
        return self._processes_of_host.described(
            (told.pid, _believed_bytes(told.usedGpuMemory)) for told in (*compute, *(graphics or ()))
        )

    # ── asking ───────────────────────────────────────────────────────────────────────────────────

    def _handle(self, uuid: str) -> object:
        if uuid not in self._handles:
            raise NvmlTrouble("gone", "the driver does not list it")
        return self._handles[uuid]

    def _ask(self, uuid: str, name: str, call: Callable[[], _T]) -> _T:
        if (uuid, name) in self._lacking:
            raise NvmlTrouble("not_supported", "Not Supported")
        try:
            with _troubles():
                return call()
        except NvmlTrouble as trouble:
            if trouble.kind == "not_supported":
                self._lacking.add((uuid, name))
            raise

    def _known(self, uuid: str, name: str, call: Callable[[], _T]) -> _T | None:
        return _unless_troubled(lambda: self._ask(uuid, name, call))


def _believed_memory(told: GpuMemory) -> GpuMemory:
    """Raises NvmlTrouble where the figures can't be those of a card."""
    if not 0 < told.total_bytes <= _MOST_BYTES or max(told.used_bytes, told.reserved_bytes or 0) > told.total_bytes:
        taken = f"{told.used_bytes} bytes used and {told.reserved_bytes or 0} reserved"
        raise NvmlTrouble("other", f"it tells of {taken} out of {told.total_bytes}, which can't be")
    return told


def _believed_bytes(told: int | None) -> int | None:
    return told if told is not None and told <= _MOST_BYTES else None


def _unless_troubled(ask: Callable[[], _T]) -> _T | None:
    """The answer, or None where only this figure can't be had."""
    try:
        return ask()
    except NvmlTrouble as trouble:
        if trouble.kind in ("not_supported", "no_permission", "other"):
            return None
        raise


@contextmanager
def _troubles() -> Iterator[None]:
    try:
        yield
    except pynvml.NVMLError as error:
        raise NvmlTrouble(_KINDS.get(error.value, "other"), str(error)) from None
