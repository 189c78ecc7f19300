"""What a starting engine knows from earlier: who was resident and pinned, and how fast bytes moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from msgspec.structs import replace

from engine.core.proposing.undo import remembered
from engine.core.commands import Submission
from engine.core.ledger import set_pin
from engine.core.models import Pin
from engine.core.names import DeviceId
from engine.core.forecast.calibration import learned
from engine.core.records import Pinned, Record, Residency, Switch
from engine.core.state import State
from engine.doctor.copy_rates import Circumstances, recall


def last_residency(past: Sequence[Record]) -> Residency | None:
    """The newest word on who was resident."""
    return next((r.entry for r in reversed(past) if isinstance(r.entry, Residency)), None)


def with_pins(state: State, residency: Residency) -> State:
    """`state` with the pins of `residency` in place of the catalog's, as far as models and devices still exist."""
    for model in state.models:
        device = residency.pins.get(model)
        known = model in residency.pins and device in (None, *state.devices)
        state = set_pin(state, model, Pin(device) if known else None)
    return state


def with_changes(state: State, past: Iterable[Record]) -> State:
    """`state` with the operator's last changes, so that they can still be taken back after a restart."""
    for record in past:
        entry = record.entry
        if isinstance(entry, Pinned) or (isinstance(entry, Switch) and entry.outcome == "done"):
            known = all(s.model in state.models for s in entry.plan.steps)
            state = (
                remembered(state, Submission(entry.id, entry.plan.command, entry.origin), entry.plan, entry.at_s)
                if known
                else state
            )
    return state


def with_copy_rates(state: State, cards: Mapping[DeviceId, str], driver: str | None, cache: Path) -> State:
    """`state` with the copy rates that `citadel gpus --measure` has found for its cards, with this driver and torch."""
    devices = dict(state.devices)
    for device, uuid in cards.items():
        kept = recall(cache, Circumstances(uuid, driver or "", version("torch")))
        if kept is not None:
            known, rate = devices[device], kept.rates.to_card_pinned
            rates = replace(known.rates, guess_bytes_per_s=rate)
            devices[device] = replace(known, rates=rates, copy_bytes_per_s=rate)
    return replace(state, devices=devices)


def with_rates(state: State, past: Iterable[Record]) -> State:
    """`state` with what recorded switches showed of the devices and the disk."""
    for record in past:
        if isinstance(record.entry, Switch):
            state = learned(state, record.entry)
    return state
