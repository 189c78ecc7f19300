"""What a benchmark writes down: each repeat with its phases, the machine that it ran on, and what was left out and why.
The JSON file of `citadel bench` is one BenchResult; the CSV has a row a repeat."""

from __future__ import annotations

import csv
from typing import Final, Literal, TextIO, TypeAlias

from msgspec import Struct
from msgspec.structs import astuple

from engine.core.names import DeviceId, ModelName
from engine.core.records import Phases, Switch
from engine.recording.host_facts import HostFacts

BENCH_VERSION: Final = 2

FromTier: TypeAlias = Literal["resident", "ram", "page-cache", "disk"]
"""Where a measured load starts: the RAM tier, a prepared slab that the kernel's page cache holds, or one that it does not.
`resident`: there is no load, and a request on the ready model is measured."""

_CSV_COLUMNS: Final = (
    "model",
    "synthetic",
    "device",
    "tier",
    "leaving",
    "weights_bytes",
    "repeat",
    "request_s",
    "switch_s",
    "evict_s",
    "load_s",
    "floor_s",
    *(f"load_{name}_s" for name in Phases.__struct_fields__),
)


class Repeat(Struct, frozen=True):
    """One switch: a model taken off its device, and the subject's made ready there."""

    evict_s: float
    load_s: float
    evict_phases: Phases
    load_phases: Phases
    floor_s: float | None
    """Bytes ÷ the fastest copy that the engine has seen on the device; None without one."""

    @property
    def switch_s(self) -> float:
        return self.evict_s + self.load_s

    @property
    def efficiency(self) -> float | None:
        """Floor ÷ measured prepare, read, copy, bind and warm time, as `core.records.Switch` has it; None without a floor."""
        phases = self.load_phases
        measured_s = phases.prepare + phases.read + phases.copy + phases.bind + phases.warm
        return self.floor_s / measured_s if self.floor_s and measured_s else None


class BenchSubject(Struct, frozen=True, order=True):
    """What was measured."""

    model: ModelName
    device: DeviceId
    tier: FromTier
    leaving: ModelName = ""
    """Which other model is taken off the device for it; empty when it is the model itself, out and in again."""


class NotMeasured(Exception):
    """A subject that gives no figures; the text says why."""


class Series(Struct, frozen=True):
    """The repeats of one subject."""

    subject: BenchSubject
    synthetic: bool
    """Whether the model's weights are random, made from a real configuration."""
    weights_bytes: int
    repeats: tuple[Repeat, ...]
    """None for the tier `resident`."""
    requests_s: tuple[float, ...] = ()
    """For that tier, seconds of each request, a text or a token, as the engine answered it. Only for that tier: requests
    count as demand, which decides what the RAM tier keeps."""

    @property
    def seconds(self) -> tuple[float, ...]:
        """What the series is about: whole switches, or requests where nothing was switched."""
        return self.requests_s or tuple(repeat.switch_s for repeat in self.repeats)


class Omission(Struct, frozen=True):
    """A subject without figures."""

    subject: BenchSubject
    synthetic: bool
    reason: str


class BenchResult(Struct, frozen=True):
    """A whole benchmark."""

    format_version: int
    at_s: float
    """When it began, seconds since the epoch."""
    engine_version: str
    machine: HostFacts
    warm_up: int
    series: tuple[Series, ...]
    omissions: tuple[Omission, ...] = ()


def repeat_of(evict: Switch, load: Switch) -> Repeat:
    """What the engine's two records of a repeat say."""
    return Repeat(evict.total_s, load.total_s, evict.phases, load.phases, load.floor_s)


def write_csv(file: TextIO, run: BenchResult) -> None:
    """A row a repeat: seconds, bytes, and nothing where a figure is not known."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(_CSV_COLUMNS)
    for series in run.series:
        about = series.subject
        named = (about.model, series.synthetic, about.device, about.tier, about.leaving, series.weights_bytes)
        for number, seconds in enumerate(series.requests_s, start=1):
            rows.writerow((*named, number, seconds))
        for number, repeat in enumerate(series.repeats, start=1):
            times = (repeat.switch_s, repeat.evict_s, repeat.load_s, repeat.floor_s)
            rows.writerow((*named, number, None, *times, *astuple(repeat.load_phases)))
