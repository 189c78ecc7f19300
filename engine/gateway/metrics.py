"""What Prometheus scrapes: the newest snapshot as gauges, and what has happened since the start as counters and histograms.

Labels are devices, boxes and models of the catalog, and words of a fixed set: nothing that a request could make up. No two
samples have the same: Prometheus would refuse all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec.structs import asdict
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from engine.api import EngineAPI, Hello, Recorded, Snapshot
from engine.core.boxes import is_heard
from engine.core.ledger import charged
from engine.core.plans import EvictStep
from engine.core.records import Entry, Notice, Refused, Switch
from engine.core.state import DeviceState, leaves_at_s

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)
"""Bounds of a switch's histogram; 2 s is what a switch may take."""


class Metrics:
    """Of one engine. `follow` has to run for what happens to be counted."""

    def __init__(self) -> None:
        self._registry: Final = CollectorRegistry()
        self._now: Final = _Now()
        self._registry.register(self._now)
        self._switches: Final = self._histogram("switch", "Commands that moved models, from arrival to end.", "outcome")
        self._phases: Final = self._histogram("switch_phase", "Parts of the switches that were done.", "phase")
        self._loads: Final = self._counter("loads", "Models that came to a device.", "model", "device", "tier")
        self._evictions: Final = self._counter("evictions", "Models that left a device.", "model", "device", "victim")
        self._refusals: Final = self._counter("refused_commands", "Commands without a plan.", "origin")
        self._notices: Final = self._counter("notices", "What happened without a command.", "level")

    def _histogram(self, name: str, about: str, label: str) -> Histogram:
        return Histogram(f"citadel_{name}_seconds", about, [label], buckets=_SECONDS, registry=self._registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"citadel_{name}", about, labels, registry=self._registry)

    async def follow(self, engine: EngineAPI) -> None:
        """Count what happens until the engine ends, which raises EngineUnreachable."""
        async for event in engine.events():
            if isinstance(event, Recorded):
                self.happened(event.record.entry)

    def happened(self, entry: Entry) -> None:
        """Count one line of the journal."""
        match entry:
            case Switch():
                self._switched(entry)
            case Refused(origin=origin):
                self._refusals.labels(origin).inc()
            case Notice(level=level):
                self._notices.labels(level).inc()
            case _:
                pass

    def _switched(self, switch: Switch) -> None:
        self._switches.labels(switch.outcome).observe(switch.total_s)
        if switch.outcome != "done":
            return
        for phase, seconds in asdict(switch.phases).items():
            self._phases.labels(phase).observe(seconds)
        for load in switch.plan.loads:
            self._loads.labels(load.model, load.device, load.tier).inc()
        for step in switch.plan.steps:
            if isinstance(step, EvictStep):
                self._evictions.labels(step.model, step.device, str(step.victim).lower()).inc()

    def text(self, hello: Hello, snapshot: Snapshot) -> bytes:
        """All of it, as Prometheus reads it."""
        self._now.take(hello, snapshot)
        return generate_latest(self._registry)


class _Now(Collector):
    """Gauges of one moment."""

    def __init__(self) -> None:
        self._of: tuple[Hello, Snapshot] | None = None

    def take(self, hello: Hello, snapshot: Snapshot) -> None:
        self._of = hello, snapshot

    def collect(self) -> Iterator[Metric]:
        if self._of is None:
            return
        hello, snapshot = self._of
        info = InfoMetricFamily("citadel", "The engine.")
        info.add_metric([], {"version": hello.version, "policy": hello.policy.eviction, "banner": hello.banner})
        yield info
        yield _gauge("citadel_start_time_seconds", "When it started.", hello.started_at_s)
        yield from _boxes(snapshot)
        yield from _devices(snapshot)
        yield from _models(snapshot)
        yield from _requests(snapshot)
        yield from _ram(snapshot)
        yield _gauge("citadel_jobs", "Commands under way.", len(snapshot.jobs))


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value=value)


def _boxes(snapshot: Snapshot) -> Iterator[Metric]:
    """Of a fleet."""
    if not snapshot.boxes:
        return
    ready = GaugeMetricFamily("citadel_box_ready", "Whether a box of the fleet is sent requests.", labels=["box"])
    silent = GaugeMetricFamily("citadel_box_silent_seconds", "Since a box's last sign of life.", labels=["box"])
    drained = GaugeMetricFamily("citadel_box_drained", "Whether a box takes nothing new.", labels=["box"])
    for name, box in snapshot.boxes.items():
        ready.add_metric([name], float(box.standing == "ready"))
        drained.add_metric([name], float(box.drained))
        if box.heard_s:
            silent.add_metric([name], box.silent_s)
    yield from (ready, silent, drained)


def _devices(snapshot: Snapshot) -> Iterator[Metric]:
    memory = GaugeMetricFamily("citadel_device_memory_bytes", "Memory of a device by kind.", labels=["device", "kind"])
    healthy = GaugeMetricFamily("citadel_device_ok", "Whether a device is well.", labels=["device"])
    busy = GaugeMetricFamily("citadel_device_utilization_ratio", "As the driver has it, 0 to 1.", labels=["device"])
    celsius = GaugeMetricFamily("citadel_device_temperature_celsius", "As the driver has it.", labels=["device"])
    for device, known in snapshot.state.devices.items():
        for kind, size_bytes in _kinds(snapshot, device, known):
            memory.add_metric([device, kind], size_bytes)
        healthy.add_metric([device], float(known.reading.health == "ok"))
        if known.reading.utilization_percent is not None:
            busy.add_metric([device], known.reading.utilization_percent / 100)
        if known.reading.temperature_c is not None:
            celsius.add_metric([device], known.reading.temperature_c)
    yield from (memory, healthy, busy, celsius)


def _kinds(snapshot: Snapshot, device: str, known: DeviceState) -> Iterator[tuple[str, float]]:
    yield "total", known.spec.total_bytes
    yield "budget", snapshot.budgets[device]
    yield "models", charged(snapshot.state, device)
    yield "context", known.context_bytes
    yield "leaked", known.leaked_bytes
    if known.reading.external_bytes is not None:
        yield "others", known.reading.external_bytes
    if known.reading.used_bytes is not None:
        yield "used", known.reading.used_bytes


def _models(snapshot: Snapshot) -> Iterator[Metric]:
    ready = GaugeMetricFamily(
        "citadel_model_ready", "Whether a model is ready on a device.", labels=["model", "device"]
    )
    leases = GaugeMetricFamily("citadel_model_leases", "Requests that run on a model.", labels=["model", "device"])
    leaves = GaugeMetricFamily(
        "citadel_model_expires_seconds", "When an idle model leaves its device.", labels=["model", "device"]
    )
    trouble = GaugeMetricFamily("citadel_model_trouble", "Whether a model can't be loaded.", labels=["model"])
    for resident in snapshot.state.residents:
        place = [resident.model, resident.device]
        ready.add_metric(place, float(resident.stage == "ready" and is_heard(snapshot.boxes, resident.device)))
        leases.add_metric(place, resident.leases)
        if (at_s := leaves_at_s(snapshot.state, resident)) is not None:
            leaves.add_metric(place, at_s)
    for model, known in snapshot.state.models.items():
        trouble.add_metric([model], float(bool(known.trouble)))
    yield from (ready, leases, leaves, trouble)


def _requests(snapshot: Snapshot) -> Iterator[Metric]:
    ended = CounterMetricFamily("citadel_requests", "Requests that have ended, by how.", labels=["model", "outcome"])
    work = CounterMetricFamily("citadel_work", "Rows, or tokens written, of answered requests.", labels=["model"])
    now = GaugeMetricFamily("citadel_requests_now", "Requests that wait or run.", labels=["model", "stage"])
    seconds = GaugeMetricFamily(
        "citadel_request_seconds",
        "Of the last five minutes: until the answer, and its first part.",
        labels=["model", "of"],
    )
    for model, figures in snapshot.requests.items():
        ends = {
            "answered": figures.ever_answered,
            "failed": figures.failed,
            "refused": figures.refused,
            "left": figures.left,
        }
        for outcome, count in ends.items():
            ended.add_metric([model, outcome], count)
        work.add_metric([model], figures.ever_done)
        now.add_metric([model, "waiting"], figures.waiting)
        now.add_metric([model, "running"], figures.in_flight)
        times = {"p50": figures.p50_s, "p95": figures.p95_s, "first part": figures.first_part_s}
        for of, value in times.items():
            if value is not None:
                seconds.add_metric([model, of], value)
    yield from (ended, work, now, seconds)


def _ram(snapshot: Snapshot) -> Iterator[Metric]:
    ram = snapshot.state.ram
    labels = ["model", "stage", *(["box"] if snapshot.boxes else [])]
    slabs = GaugeMetricFamily("citadel_ram_tier_slab_bytes", "Weights kept in the RAM tier.", labels=labels)
    for slab in ram.slabs:
        slabs.add_metric([slab.model, slab.stage, slab.box][: len(labels)], slab.size_bytes)
    yield slabs
    yield _gauge("citadel_ram_tier_budget_bytes", "What the RAM tier may hold.", ram.budget_bytes)
    yield _gauge("citadel_ram_tier_models_limit", "How many models it may hold.", ram.max_models)
