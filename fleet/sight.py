"""What the service sees of its boxes, kept up as their snapshots come: the view by which requests are routed, and the states by
which commands are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from engine.core.names import BoxName, ModelName
from fleet.boxes import Box
from fleet.core.choose import MOST_ASKED
from fleet.core.digest import digest_of, member_of
from fleet.core.view import FleetView, Member, Rules
from fleet.routing import Known


class Sight:
    """Boxes as others decide by them."""

    def __init__(self, boxes: Mapping[BoxName, Box], rules: Rules, epoch: int, monotonic: Callable[[], float]) -> None:
        """`epoch`: no earlier service's, such as the millisecond in which this one began."""
        self.view: Final = FleetView(rules, epoch)
        self._boxes: Final = boxes
        self._monotonic: Final = monotonic
        self._members: dict[BoxName, Member] = {}

    @property
    def known(self) -> Known:
        """All boxes that were ever heard."""
        states = {name: box.snapshot.state for name, box in self._boxes.items() if box.snapshot is not None}
        ready = [name for name in states if self._boxes[name].standing == "ready"]
        only = {model: rule.only for model, rule in self.view.rules.models.items() if rule.only is not None}
        return Known(states, ready, [name for name in states if self._boxes[name].drained], only)

    def stood(self, box: Box) -> None:
        """It came, went, or is drained; or its catalog may have changed."""
        members = {name: known for name, known in self._members.items() if name in self._boxes}
        if box.snapshot is not None and box.name in self._boxes:
            members[box.name] = member_of(box.snapshot.state, is_ready=box.standing == "ready", is_drained=box.drained)
        if members != self._members:
            self._members = members
            self.view.join(members)

    def heard(self, box: Box) -> None:
        """It gave a snapshot."""
        if box.snapshot is not None:
            self.stood(box)
            self.view.heard(box.name, digest_of(box.snapshot.state), self._monotonic())

    def having(self, model: ModelName) -> list[BoxName]:
        """Open boxes whose catalog has it, whether they could hold it or not, as far as the operator lets them."""
        rule = self.view.rules.models.get(model)
        boxes = [name for name in self.view.open_boxes if rule is None or rule.only is None or name in rule.only]
        return [name for name in boxes if (said := self._boxes[name].snapshot) and model in said.state.models]

    def bidders(self, model: ModelName, without: frozenset[BoxName] = frozenset()) -> list[BoxName]:
        """The boxes that are asked what a command for the model would cost them, five at most, the likeliest first."""
        with_slab = [box for box in self.view.with_slab(model) if box in self.view.open_boxes]
        likely = (*with_slab[-1:], *self.view.homes(model, without), *self.having(model))
        return [box for box in dict.fromkeys(likely) if box not in without][:MOST_ASKED]
