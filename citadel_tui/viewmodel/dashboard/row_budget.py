"""Who gets how many rows of the screen: devices, other programs, models, log, graphs and timeline. A pure
function of what each would fill; it knows no widget."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

Part: TypeAlias = Literal["devices", "programs", "models", "lower", "timeline", "log"]

_ALL: Final = 1_000_000
_FEW_DEVICES: Final = 3
_FEW_MODELS: Final = 4
"""With the rule and the titles."""
_SOME_MODELS: Final = 8
_FEW_RECORDS: Final = 3
"""With the rule."""
_FEW_PROGRAMS: Final = 3
"""With the rule and the titles; fewer are of no use."""


class Wants(Struct, frozen=True):
    """The rows that each part would fill, its rule and titles included."""

    devices: int
    models: int
    log: int
    programs: int = 0
    lower: int = 0
    lower_least: int = 0
    """Fewer are of no use to the lower part."""
    timeline: int = 0
    """It has all of them or none."""
    unfolded: bool = False
    """Whether the operator wants to see all devices, whoever else is hidden then."""


def shared_rows(rows: int, wants: Wants, half: int) -> dict[Part, int]:
    """All of `rows` given out. What nobody wants makes the graphs higher; where there are none, the log is blank there.

    Devices come first, as far as `half` of the screen; then models; then the log. But whatever there is has a few rows before
    that.
    """
    wanted: dict[Part, int] = {
        "devices": wants.devices,
        "programs": wants.programs,
        "models": wants.models,
        "lower": wants.lower,
        "timeline": wants.timeline,
        "log": wants.log,
    }
    least: dict[Part, int] = {"programs": _FEW_PROGRAMS, "lower": wants.lower_least, "timeline": wants.timeline}
    given: dict[Part, int] = dict.fromkeys(wanted, 0)
    left = max(rows, 0)
    for part, most in _claims(wants, half):
        more = min(max(min(most, wanted[part]) - given[part], 0), left)
        if given[part] + more >= least.get(part, 0):
            given[part] += more
            left -= more
    given["lower" if given["lower"] else "log"] += left
    return given


def _claims(wants: Wants, half: int) -> tuple[tuple[Part, int], ...]:
    """Who may fill up to how many rows, one after the other."""
    return (
        ("devices", _FEW_DEVICES),
        ("models", _FEW_MODELS),
        ("devices", _ALL if wants.unfolded else 0),
        ("log", _FEW_RECORDS),
        ("lower", wants.lower_least),
        ("devices", half),
        ("models", _SOME_MODELS),
        ("timeline", _ALL),
        ("programs", _ALL),
        ("models", _ALL),
        ("devices", _ALL),
        ("lower", _ALL),
        ("log", _ALL),
    )
