"""Two runs side by side: what each subject's switch time has become, and what can't be compared."""

from __future__ import annotations

from msgspec import Struct

from engine.bench.records import BenchResult, BenchSubject, Series
from engine.bench.statistics import MedianChange, change_of_median, spread
from engine.recording.host_facts import HostFacts


class BenchComparison(Struct, frozen=True):
    """One subject in both runs; seconds are medians of what its series is about."""

    subject: BenchSubject
    synthetic: bool
    before_s: float
    after_s: float
    change: MedianChange


class Compared(Struct, frozen=True):
    """All that two runs have to say to each other."""

    comparisons: tuple[BenchComparison, ...]
    only_before: tuple[Series, ...]
    only_after: tuple[Series, ...]
    differences: tuple[str, ...]
    """What else differs between the two, which may explain a change."""


def compare_runs(before: BenchResult, after: BenchResult) -> Compared:
    old = {series.subject: series for series in before.series}
    new = {series.subject: series for series in after.series}
    return Compared(
        tuple(_compared(old[subject], new[subject]) for subject in sorted(old.keys() & new.keys())),
        tuple(old[subject] for subject in sorted(old.keys() - new.keys())),
        tuple(new[subject] for subject in sorted(new.keys() - old.keys())),
        (*machine_differences(before.machine, after.machine), *_other_weights(old, new)),
    )


def _compared(before: Series, after: Series) -> BenchComparison:
    return BenchComparison(
        after.subject,
        before.synthetic or after.synthetic,
        spread(before.seconds).p50,
        spread(after.seconds).p50,
        change_of_median(before.seconds, after.seconds),
    )


def machine_differences(before: HostFacts, after: HostFacts) -> tuple[str, ...]:
    """What is not the same of the machine and its packages, each in words."""
    facts = [
        (name, getattr(before, name), getattr(after, name)) for name in ("host", "cpu", "cores", "kernel", "python")
    ]
    facts.append(("readings of devices", _readings(before), _readings(after)))
    packages = sorted(before.versions.keys() | after.versions.keys())
    facts += [(name, before.versions.get(name, "none"), after.versions.get(name, "none")) for name in packages]
    known = {device.id: device for device in before.devices}
    facts += [(d.id, known[d.id].title, d.title) for d in after.devices if d.id in known]
    return tuple(f"{name}: {old} before, {new} after" for name, old, new in facts if old != new)


def _readings(machine: HostFacts) -> str:
    return "as ever" if machine.sample_s is None else f"every {machine.sample_s:g} s"


def _other_weights(old: dict[BenchSubject, Series], new: dict[BenchSubject, Series]) -> tuple[str, ...]:
    sizes = {(s.model, old[s].weights_bytes, new[s].weights_bytes) for s in old.keys() & new.keys()}
    return tuple(f"{model}: {was} bytes before, {now} after" for model, was, now in sorted(sizes) if was != now)
