"""Reads what the engine has recorded, as far as it belongs to the configuration that ran last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from engine.core.records import Entry, Switch
from engine.recording.demand import OwnDemand, own_demand
from engine.recording.journal import recorded_records
from engine.recording.memory import EngineFacts, MemoryLine, Sample, recorded_memory
from engine.recording.trace import TraceError


class NothingRecorded(Exception):
    """There is nothing to report on, and what would change that."""


class ReportRecords(Struct, frozen=True):
    """What there is to report on. The newest engine's machine, devices, models and policy hold for all of it."""

    engines: tuple[EngineFacts, ...]
    """The starts of engines, oldest first; never empty."""
    samples: tuple[Sample, ...]
    entries: tuple[Entry, ...]
    demand: OwnDemand | None
    troubles: tuple[str, ...] = ()
    """What could not be read, and why."""

    @property
    def facts(self) -> EngineFacts:
        return self.engines[-1]

    @property
    def switches(self) -> tuple[Switch, ...]:
        return tuple(entry for entry in self.entries if isinstance(entry, Switch))


def gather_records(journal: Path, memory: Path, demand: Path) -> ReportRecords:
    """What the three folders hold since the first of the last engines that ran on the same devices, models and policy.

    Raises NothingRecorded, and OSError for a folder that can't be read.
    """
    recalled, records = recorded_memory(memory), recorded_records(journal)
    lines = recalled.values
    engines = _last_alike([line for line in lines if isinstance(line, EngineFacts)])
    if not engines:
        raise NothingRecorded(
            f"{memory} holds no record of an engine; start one with `citadel`, and use it for a while"
        )
    since_s = engines[0].at_s
    asked, troubles = _demand(demand, since_s)
    return ReportRecords(
        engines=engines,
        samples=_samples_since(lines, since_s),
        entries=tuple(r.entry for r in records.values if r.entry.at_s >= since_s),
        demand=asked,
        troubles=(*troubles, *filter(None, (recalled.left_out, records.left_out))),
    )


def _last_alike(engines: Sequence[EngineFacts]) -> tuple[EngineFacts, ...]:
    alike: list[EngineFacts] = []
    for facts in reversed(engines):
        if alike and _setting(facts) != _setting(alike[-1]):
            break
        alike.append(facts)
    return tuple(reversed(alike))


def _setting(facts: EngineFacts) -> object:
    return facts.devices, [(model.name, model.source) for model in facts.models], facts.hello.policy


def _samples_since(lines: Iterable[MemoryLine], since_s: float) -> tuple[Sample, ...]:
    return tuple(line for line in lines if isinstance(line, Sample) and line.at_s >= since_s)


def _demand(folder: Path, since_s: float) -> tuple[OwnDemand | None, tuple[str, ...]]:
    try:
        demand = own_demand(folder)
    except TraceError as error:
        return None, (str(error),)
    requests = tuple(r for r in demand.requests if demand.began_s + r.at_s >= since_s)
    left_out = tuple(filter(None, (demand.left_out,)))
    return (OwnDemand(demand.began_s, requests) if requests else None), left_out
