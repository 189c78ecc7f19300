"""What the console knows at one moment: the engine's newest snapshot, its records, and how good the line to it is."""

from __future__ import annotations

from msgspec import Struct

from engine.api import Hello, Job, Snapshot
from engine.core.names import ModelName
from engine.core.records import Record, Switch


class Lost(Struct, frozen=True):
    """The line to the engine is down."""

    since_s: float
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

    @property
    def stale(self) -> bool:
        """Whether what is shown may no longer be so."""
        return self.lost is not None

    def jobs_of(self, model: ModelName) -> tuple[Job, ...]:
        """Commands under way for `model`."""
        return tuple(j for j in self.snapshot.jobs if j.command.model == model) if self.snapshot else ()

    def last_switch(self, model: ModelName) -> Switch | None:
        """The newest switch that made `model` ready."""
        return next((s for s in reversed(self.switches()) if s.outcome == "done" and loads(s, model)), None)

    def switches(self) -> list[Switch]:
        """All remembered switches, oldest first."""
        return [r.entry for r in self.records if isinstance(r.entry, Switch)]


def loads(switch: Switch, model: ModelName) -> bool:
    """Whether the switch brought `model` to a device."""
    return switch.plan.load is not None and switch.plan.load.model == model
