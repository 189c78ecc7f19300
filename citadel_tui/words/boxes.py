"""The boxes of a fleet in words: how each stands and since when, what was on one that is gone, and which was meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from citadel_tui.text import clean
from citadel_tui.words.figures import count_text, moment_text
from engine.api import Hello, Snapshot
from engine.core.boxes import BoxStanding, BoxView
from engine.core.names import BoxName, DeviceId, box_of, on_box, within_box
from engine.core.near_misses import nearest
from engine.core.texts import in_brief

_NAMED: Final = 8
"""Of more names than these the first are told, and how many more there are."""
_COUNTED: Final[tuple[BoxStanding, ...]] = ("silent", "unreachable", "other version")


def fleet_text(boxes: dict[BoxName, BoxView]) -> str:
    """ "fleet of 3 boxes", with those that are not ready and those that are drained: ", 1 silent, 1 drained"."""
    standings = Counter(box.standing for box in boxes.values())
    told = [f"{standings[standing]} {_of_several(standing)}" for standing in _COUNTED if standings[standing]]
    drained = sum(box.drained for box in boxes.values())
    return ", ".join(
        [f"fleet of {count_text(len(boxes), 'box', 'boxes')}", *told, *([f"{drained} drained"] * bool(drained))]
    )


def fleet_in_brief(boxes: dict[BoxName, BoxView]) -> str:
    """ "3 boxes, 1 not ready"."""
    away = sum(box.standing != "ready" for box in boxes.values())
    return count_text(len(boxes), "box", "boxes") + (f", {away} not ready" if away else "")


def _of_several(standing: BoxStanding) -> str:
    return "of another version" if standing == "other version" else standing


def standing_words(box: BoxView, now_s: float | None) -> str:
    """How it stands, and since when where it is not ready: "silent since 14:02:05"; without that where the time is None, since it
    stands beside. Empty for one that is ready and takes what comes."""
    match box.standing:
        case "ready":
            return "drained: it takes nothing new" if box.drained else ""
        case "silent" | "unreachable":
            since = "" if now_s is None else f" since {moment_text(box.heard_s, now_s)}"
            told = f"{box.standing}{since if box.heard_s else ', never heard yet'}"
        case "other version":
            told = f"of another version{f' ({clean(box.version)})' if box.version else ''}"
    return told + (f": {clean(box.why)}" if box.why else "")


UNHEARD: Final = "unheard"
"""Of a model whose box is not heard: it may no longer be there."""


def held_text(snapshot: Snapshot, box: BoxName) -> str:
    """Which models were on the box when it was last heard."""
    here = dict.fromkeys(r.model for r in snapshot.state.residents if box_of(r.device) == box)
    return _listed([clean(model) for model in here]) if here else "no model"


def banners_of(hello: Hello | None, boxes: dict[BoxName, BoxView]) -> Iterator[str]:
    """What every screen must say of the engine; in a fleet of each box, those together that say the same."""
    if hello is not None and hello.banner and not boxes:
        yield hello.banner
    heard = [name for name, box in boxes.items() if box.host]
    for banner in dict.fromkeys(box.banner for box in boxes.values() if box.banner):
        those = [name for name, box in boxes.items() if box.banner == banner]
        yield banner if those == heard else f"{_listed(those)}: {banner}"


# ── which one was meant ───────────────────────────────────────────────────────────────────────────


def unknown_device(snapshot: Snapshot, device: DeviceId) -> str:
    """What to say to whoever names a device that there is not, with what may have been meant; empty for one that there is."""
    if device in snapshot.state.devices:
        return ""
    box, known = box_of(device), list(snapshot.state.devices)
    if not snapshot.boxes:
        where = f"; boxes are a fleet's, and this engine has none: write {within_box(device)}" if box else ""
        return f"there is no device {in_brief(device)}{where}; the devices are {_listed(known)}"
    if not box:
        those = [on_box(name, device) for name in snapshot.boxes if on_box(name, device) in snapshot.state.devices]
        return f"which box's {in_brief(device)}? write {_listed(those or known, 'or')}"
    if box not in snapshot.boxes:
        return unknown_box(snapshot, box)
    here = [known_device for known_device in known if box_of(known_device) == box]
    return f"{box} has no {in_brief(within_box(device))}" + (
        f"; it has {_listed(here)}" if here else "; nothing is known of it"
    )


def unknown_box(snapshot: Snapshot, box: BoxName) -> str:
    """What to say to whoever names a box that there is not, with what may have been meant; empty for one that there is."""
    if box in snapshot.boxes:
        return ""
    close = nearest(box, snapshot.boxes)
    hint = f" (did you mean {close}?)" if close else ""
    return f"no box is named {in_brief(box)}{hint}; the boxes are {_listed(list(snapshot.boxes))}"


def _listed(names: list[str], last: str = "and") -> str:
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "none"


# ── where there is none ───────────────────────────────────────────────────────────────────────────


def no_fleet_text(file: Path) -> str:
    """Why nobody answers for a fleet, and what to do: there is no file yet that says which boxes it has, or nobody serves it."""
    if file.exists():
        return f"the fleet's service does not run; `citadel fleet serve` starts it, on the boxes that {file} lists"
    return (
        f"there is no fleet: {file} lists its boxes and does not exist. Write one, a line for each box with what ssh calls it, "
        "such as\n  boxes:\n    box1: {}\n    box2: {ssh: alice@box2}\nthen run `citadel fleet serve`;"
        " `citadel fleet init` begins one on Ray"
    )
