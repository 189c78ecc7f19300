"""The rows of a fleet's devices, box by box in the operator's order, the name of each once.

Where there is no room for all, boxes are a row each: their GPUs' memory together, and never that of a CPU with it. As many as fit
show their devices, those first in which one is in trouble. Boxes that there is no room for are one row of words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Final, NamedTuple

from msgspec.structs import replace

from citadel_tui.actions import BY_ID
from citadel_tui.viewmodel.dashboard.bars import device_figures, no_figures
from citadel_tui.viewmodel.dashboard.device_rows import device_row, tier_row, title_text
from citadel_tui.viewmodel.dashboard.row_layout import Painted, Row, Rows, laid_out
from citadel_tui.viewmodel.memory_map import occupancy, together
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Role, named
from citadel_tui.viewmodel.trouble import has_figures
from citadel_tui.words.boxes import standing_words
from citadel_tui.words.figures import age_text, count_text
from engine.api import Snapshot
from engine.core.boxes import BoxView
from engine.core.names import BoxName, DeviceId, box_of, within_box

_NAME_SHARE: Final = 8
"""Of the width, a box's name takes at most this part: an eighth."""
_NAME_LEAST: Final = 5
_AGE: Final = 4


class _Unit(NamedTuple):
    """What has a row of its own when all is shown: a device, or a box that nothing is known of."""

    box: BoxName
    device: DeviceId | None


class Fleet:
    """The boxes of a snapshot with their devices, which several ask for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot: Final = snapshot
        self.groups: Final[dict[BoxName, list[DeviceId]]] = {box: [] for box in snapshot.boxes}
        self.ill: Final[dict[BoxName, int]] = {}
        """How many devices of a box are in trouble of their own."""
        for device, known in snapshot.state.devices.items():
            box = box_of(device)
            self.groups.setdefault(box, []).append(device)
            if known.reading.health not in ("ok", "starting"):
                self.ill[box] = self.ill.get(box, 0) + 1

    @property
    def height(self) -> int:
        """Rows that all would fill, with the RAM tier's."""
        return sum(map(self._rows_of, self.groups)) + 1

    def wants(self, most: int) -> int:
        """Lines of use in at most `most`: with what is said of boxes in trouble where all fit, else as many as folding fills."""
        told = sum(box.standing != "ready" for name, box in self.snapshot.boxes.items() if self.groups[name])
        if self.height + told <= most:
            return self.height + told
        opened = self.opened(most - 1)
        return min(sum(self._rows_of(box) if box in opened else 1 for box in self.groups) + 1, most)

    def next_window(self, most: int, first: int) -> int | None:
        """Where the window begins after the one that begins at `first`; None when that was the last."""
        after = first + most - 2
        return after if first < after < self.height - 1 else None

    def first_of(self, box: BoxName) -> int:
        """Where a window begins that shows the box on top."""
        return sum(self._rows_of(before) for before in takewhile(lambda name: name != box, self.groups))

    def opened(self, room: int) -> set[BoxName]:
        """The boxes that show their devices where each has a row at least, those first in which one is in trouble."""
        spare, opened = room - len(self.groups), set[BoxName]()
        for box in sorted(self.groups, key=lambda box: box not in self.ill):
            more = self._rows_of(box) - 1
            if more <= spare:
                opened.add(box)
                spare -= more
        return opened

    def units(self, boxes: Iterable[BoxName]) -> list[_Unit]:
        return [_Unit(box, device) for box in boxes for device in self.groups[box] or (None,)]

    def _rows_of(self, box: BoxName) -> int:
        return len(self.groups[box]) or 1


def fleet_rows(
    scene: Scene, fleet: Fleet, paper: Paper, most: int, first: int | None = None, painted: Painted | None = None
) -> Rows:
    """At most `most` lines. With `first`, where not all have room: the rows from that one on, counted through all boxes."""
    room = most - 1  # the RAM tier's
    names = min(max(map(len, fleet.groups)), max(paper.width // _NAME_SHARE, _NAME_LEAST))
    table = _Table(scene, fleet, paper, names)
    if first is not None and fleet.height - 1 > room:
        units = fleet.units(fleet.groups)
        begin = max(min(first, len(units) - (room - 1)), 0)
        shown, rest = units[begin:][: room - 1], [*units[:begin], *units[begin:][room - 1 :]]
        hidden = dict.fromkeys(unit.box for unit in rest)
        rows = [*table.units(shown), table.words(len(rest), list(hidden), "the next")]
    else:
        rows = table.folded(room)
    tier = tier_row(scene, fleet.snapshot.state, paper)
    return laid_out([*rows, tier], paper, most, {} if painted is None else painted)


class _Table:
    """Makes the rows."""

    def __init__(self, scene: Scene, fleet: Fleet, paper: Paper, names: int) -> None:
        self._scene = scene
        self._fleet = fleet
        self._snapshot = fleet.snapshot
        self._paper = paper
        self._names = names

    def folded(self, room: int) -> list[Row]:
        """As many boxes with their devices as fit, the others in a row each, or together in one."""
        fleet, rows = self._fleet, list[Row]()
        if len(fleet.groups) <= room:
            opened = fleet.opened(room)
            for box in fleet.groups:
                rows.extend(self.units(fleet.units((box,))) if box in opened else [self._box(box)])
            return rows
        by_need = sorted(fleet.groups, key=lambda box: self._is_well(box) and box not in fleet.ill)
        shown = {*by_need[: max(room - 1, 0)]}
        hidden = [box for box in fleet.groups if box not in shown]
        return [*(self._box(box) for box in fleet.groups if box in shown), self.words(len(hidden), hidden, "more")]

    def units(self, units: Sequence[_Unit]) -> list[Row]:
        rows: list[Row] = []
        named: BoxName | None = None
        for box, device in units:
            label = self._label(box if box != named else "", device)
            rows.append(self._unknown(box, label) if device is None else self._device(device, label))
            named = box
        return rows

    def words(self, count: int, boxes: Sequence[BoxName], what: str) -> Row:
        """What can't be seen must not be overlooked."""
        ill = sum(not self._is_well(box) for box in boxes)
        told = (
            f"{self._paper.glyphs.no} {ill} not ready" if ill else "",
            f"{BY_ID['devices'].key_text} shows {what}",
            ", ".join(boxes),
        )
        words = f" {self._paper.glyphs.bullet} ".join(filter(None, told))
        return Row("", f"+{count}", (), None, (), words, role="bad" if ill else "dim")

    # ── one row ──────────────────────────────────────────────────────────────────────────────────

    def _label(self, box: BoxName, device: DeviceId | None) -> str:
        name = named(box, self._names, self._paper.glyphs.ellipsis)
        return f"{name} {within_box(device)}" if device else name

    def _device(self, device: DeviceId, label: str) -> Row:
        known = self._snapshot.state.devices[device]
        shown = replace(known, reading=self._scene.reading(device))
        row = device_row(shown, self._scene, self._snapshot, self._paper)._replace(label=label)
        return self._of_box(row, box_of(device), has_figures=row.parts is not None)

    def _of_box(self, row: Row, box: BoxName, *, has_figures: bool) -> Row:
        """With how its box stands, where that is to be said; in marks and words beside the title, too."""
        view = self._snapshot.boxes.get(box)
        words = standing_words(view, self._scene.now_s) if view is not None else ""
        if view is None or not words:
            return row
        if view.standing == "ready":
            return row._replace(head=(row.head[0], "drained", *row.head[2:]), cause=box)
        mark = self._paper.glyphs.no
        head = (row.head[0], f"{mark} {view.standing} {self._age(view)}") if has_figures else row.head
        return row._replace(head=head, health=f"{mark} {words}", reason="", role=_role(view), cause=box)

    def _unknown(self, box: BoxName, label: str) -> Row:
        row = Row(
            box,
            label,
            ("", ""),
            None,
            no_figures(self._paper.glyphs),
            f"{self._paper.glyphs.no} nothing is known of it",
        )
        return self._of_box(row, box, has_figures=False)

    def _box(self, box: BoxName) -> Row:
        """The memory of its GPUs together; of a box without any its CPU's."""
        known = [self._snapshot.state.devices[device] for device in self._fleet.groups[box]]
        ill = self._fleet.ill
        gpus = [one for one in known if one.spec.kind == "gpu"] or known
        parts = [occupancy(self._snapshot, one.spec.id) for one in gpus if has_figures(one.reading)]
        label = self._label(box, None)
        if not parts:
            return self._unknown(box, label)
        whole = together(parts)
        number = count_text(len(gpus), "GPU", "GPUs") if gpus[0].spec.kind == "gpu" else "CPU"
        note = f"{self._paper.glyphs.no} {ill[box]} not ok" if box in ill else number
        titles = {one.spec.title for one in gpus}
        title = title_text(titles.pop() if len(titles) == 1 else f"{len(titles)} kinds of GPU", self._paper)
        row = Row(box, label, (title, note), whole, device_figures(whole, self._paper))
        return self._of_box(row, box, has_figures=True)

    def _age(self, view: BoxView) -> str:
        return f"{age_text(view.silent_s + self._scene.snapshot_age_s):<{_AGE}}"

    def _is_well(self, box: BoxName) -> bool:
        view = self._snapshot.boxes.get(box)
        return view is None or view.standing == "ready"


def _role(view: BoxView) -> Role:
    return "warn" if view.standing == "silent" else "bad"
