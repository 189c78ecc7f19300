"""What runs teach of the models' footprints: takes each run's peak in, and says when a lesson is to be kept."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from engine.core.forecast.footprints import ENOUGH_RUNS, RunPeaks, came_short, fitted, observed
from engine.core.names import DeviceId, ModelName
from engine.core.state import ModelState
from engine.scheduler.board import Board
from engine.scheduler.effects import KeepPeaks


class FootprintLearning:
    """Changes what models are charged when they are loaded next; what a resident is charged stays as long as it is loaded."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._estimated_bytes = {name: known.footprint.workspace_bytes for name, known in board.state.models.items()}
        self._peaks: dict[ModelName, dict[str, RunPeaks]] = {}

    def know(self, known: ModelState) -> None:
        """The model is new, or another one: what runs of it took before tells nothing of it."""
        self._estimated_bytes[known.spec.name] = known.footprint.workspace_bytes
        self._peaks.pop(known.spec.name, None)

    def forget(self, model: ModelName) -> None:
        """There is no such model any more."""
        self._estimated_bytes.pop(model, None)
        self._peaks.pop(model, None)

    def recall(self, kept: Mapping[tuple[ModelName, str], RunPeaks]) -> None:
        """What runs took before a restart, by model and kind of device; kinds that are no longer there teach nothing."""
        kinds = {known.spec.title for known in self._board.state.devices.values()}
        for (model, kind), peaks in kept.items():
            if kind in kinds:
                self._take(model, kind, peaks)

    def ran(self, model: ModelName, device: DeviceId, workspace_bytes: int, filled: float) -> None:
        """A run took `workspace_bytes` and filled that share of what the model's limits allow. A benchmark's runs teach nothing:
        keeping what they taught would be in their way, and they are the smallest there are."""
        if self._board.is_quiet:
            return
        kind = self._kind(device)
        before = self._peaks.get(model, {}).get(kind, RunPeaks())
        peaks = observed(before, workspace_bytes, filled)
        self._take(model, kind, peaks)
        # At first each run decides what is learned; later few do, and a restart may forget the last ones.
        if peaks.count <= ENOUGH_RUNS or peaks.count % ENOUGH_RUNS == 0:
            self._board.emit(KeepPeaks(model, kind, peaks))

    def ran_short(self, model: ModelName, device: DeviceId) -> None:
        """A run found too little: forget what earlier ones took, and charge the model twice as much."""
        charged = [r.footprint for r in self._board.state.of(model)]
        charged.append(self._board.state.models[model].footprint)
        peaks = came_short(max(footprint.workspace_bytes for footprint in charged))
        self._take(model, self._kind(device), peaks)
        self._board.emit(KeepPeaks(model, self._kind(device), peaks))

    def _take(self, model: ModelName, kind: str, peaks: RunPeaks) -> None:
        self._peaks.setdefault(model, {})[kind] = peaks
        self._refit(model)

    def _refit(self, model: ModelName) -> None:
        state, peaks = self._board.state, self._peaks[model]
        kinds = {known.spec.title for known in state.devices.values() if known.spec.on_card}
        known = state.models[model]
        footprint = fitted(
            known.footprint,
            self._estimated_bytes[model],
            cards=[peaks.get(kind, RunPeaks()) for kind in kinds],
            others=[seen for kind, seen in peaks.items() if kind not in kinds],
        )
        if footprint != known.footprint:
            self._board.know_model(replace(known, footprint=footprint))

    def _kind(self, device: DeviceId) -> str:
        return self._board.state.devices[device].spec.title
