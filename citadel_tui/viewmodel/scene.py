"""What the console knows at one moment: the engine's newest snapshot, its records, and how good the line to it is."""

from __future__ import annotations

from msgspec import Struct, field

from citadel_tui.timeline.chronicle import Chronicle
from citadel_tui.viewmodel.history import GraphHistory
from citadel_tui.viewmodel.model_colours import ModelColours
from citadel_tui.words.alerts import Alert
from citadel_tui.words.health import age_s_of, shown_reading
from engine.api import Hello, JobView, Snapshot
from engine.core.commands import models_of
from engine.core.devices import STALE_S, Reading
from engine.core.names import DeviceId, ModelName
from engine.core.records import Record, Switch


class Lost(Struct, frozen=True):
    """The line to the engine is down."""

    why: str


class Scene(Struct, frozen=True):
    """Everything that the screens are made from."""

    now_s: float
    hello: Hello | None = None
    snapshot: Snapshot | None = None
    records: tuple[Record, ...] = ()
    """Oldest first; the oldest are forgotten."""
    lost: Lost | None = None
    read_only: bool = False
    history: GraphHistory = GraphHistory()
    colours: ModelColours = ModelColours()
    past: Chronicle = field(default_factory=Chronicle)
    """Goes on with what happens, so that scenes of one console share it."""
    silent_s: float = 0.0
    """Since the engine's last sign of life, on the steady clock."""
    snapshot_age_s: float = 0.0
    """Since the snapshot came, on the same."""
    gone: Alert | None = None
    """The engine before this one, as far as this console saw it go, with what was under way there."""

    @property
    def stale(self) -> bool:
        """Whether what is shown may no longer be so."""
        return self.lost is not None or self.silent_s >= STALE_S

    def reading(self, device: DeviceId) -> Reading:
        """How the device is to be shown now."""
        return shown_reading(self.snapshot, device, self.snapshot_age_s) if self.snapshot else Reading("starting")

    def age_s(self, device: DeviceId) -> float | None:
        """Of the device's figures; None where it never gave any."""
        return age_s_of(self.snapshot, device, self.snapshot_age_s) if self.snapshot else None

    def jobs_of(self, model: ModelName) -> tuple[JobView, ...]:
        """Commands under way for `model`."""
        return tuple(j for j in self.snapshot.jobs if model in models_of(j.command)) if self.snapshot else ()

    def last_switches(self) -> dict[ModelName, Switch]:
        """The newest switch that made each model ready; those of several models at once tell nothing of one of them."""
        alone = (s for s in self.switches() if s.outcome == "done" and len(s.plan.loads) == 1)
        return {s.plan.loads[0].model: s for s in alone}

    def switches(self) -> list[Switch]:
        """All remembered switches, oldest first."""
        return [r.entry for r in self.records if isinstance(r.entry, Switch)]


def loads(switch: Switch, model: ModelName) -> bool:
    """Whether the switch brought `model` to a device."""
    return any(load.model == model for load in switch.plan.loads)
