"""The catalog as it changes under the engine's feet: models come, go and become others, and no resident is touched.

A model that is in use stays what it is until it is not: its new word, or its end, waits for that.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from engine.core import ledger
from engine.core.catalog import (
    LEAVING_REMARK,
    CatalogChange,
    caught_up,
    in_order,
    new_to_workers,
    same_weights,
    spoken_of,
    without_model,
)
from engine.core.commands import models_of
from engine.core.names import ModelName
from engine.core.state import ModelState
from engine.scheduler.board import Board
from engine.scheduler.commands import Commands
from engine.scheduler.effects import CatalogTaken, DropSlab, ForgetModel, KnowModel
from engine.scheduler.footprint_learning import FootprintLearning
from engine.scheduler.messages import CatalogRead
from engine.scheduler.ram_tier import Slabs


class ListedModels:
    """What the catalog said last, as far as it is not in force yet."""

    def __init__(self, board: Board, commands: Commands, slabs: Slabs, learning: FootprintLearning) -> None:
        self._board: Final = board
        self._commands: Final = commands
        self._slabs: Final = slabs
        self._learning: Final = learning
        self._later: Final[dict[ModelName, ModelState]] = {}
        self._leaving: Final[dict[ModelName, str]] = {}
        """Models that are to go, with the remark that each had before."""

    def read(self, catalog: CatalogRead) -> None:
        """Take in what the catalog says now."""
        board = self._board
        back = [name for name in self._leaving if name in catalog.names]
        for name in back:
            self._stay(name)
        known = board.state.models
        new = [name for name in catalog.names if name not in known]
        gone = [name for name in known if name not in catalog.names and name not in self._leaving]
        changed = [name for name in catalog.looked if name in known and self._hears(catalog.looked[name])]
        for name in new:
            self._begin(catalog.looked[name])
        for name in gone:
            self._later.pop(name, None)
            self._leaving[name] = known[name].remark
            board.know_model(replace(board.state.models[name], remark=LEAVING_REMARK))
        self.settle()
        board.apply(in_order, catalog.names)
        left, waits = board.state.models, self._later
        change = CatalogChange(
            added=(*new, *back),
            removed=tuple(name for name in gone if name not in left),
            leaving=tuple(name for name in gone if name in left),
            changed=tuple(name for name in changed if name not in waits),
            later=tuple(name for name in changed if name in waits),
            remarks=catalog.remarks,
        )
        board.emit(CatalogTaken(change))

    def settle(self) -> None:
        """Let the catalog's word come true for whoever is not in use any more."""
        for name in [name for name in self._leaving if not self._in_use(name)]:
            self._end(name)
        for name in [name for name in self._later if not self._in_use(name)]:
            self._become(self._later.pop(name))

    def _hears(self, now: ModelState) -> bool:
        """Whether the catalog says something new of a model that is known. What can be said of a resident holds at once."""
        board, model = self._board, now.spec.name
        before = board.state.models[model]
        waited = self._later.pop(model, None)
        if same_weights(before, now):
            if (kept := caught_up(before, now)) is not before:
                board.know_model(kept)
            return waited is not None or board.state.models[model] is not before
        board.know_model(spoken_of(before, now))
        self._later[model] = now
        return waited is None or waited.spec != now.spec or not same_weights(waited, now)

    def _in_use(self, model: ModelName) -> bool:
        """Whether the model is on a device, on its way to or from one, or its slab is being moved, or a command is about it."""
        state = self._board.state
        slab = state.ram.find(model)
        moving = slab is not None and slab.stage not in ("kept", "damaged")
        return (
            bool(state.of(model))
            or moving
            or any(model in models_of(j.submission.command) for j in self._commands.jobs)
        )

    def _begin(self, known: ModelState) -> None:
        self._board.know_model(known)
        self._learning.know(known)
        self._board.emit(KnowModel(known))

    def _become(self, now: ModelState) -> None:
        board, model = self._board, now.spec.name
        self._let_go(model)
        board.apply(new_to_workers, model)
        board.know_model(caught_up(board.state.models[model], now))
        self._learning.know(now)
        board.emit(KnowModel(now))

    def _stay(self, model: ModelName) -> None:
        remark = self._leaving.pop(model)
        self._board.know_model(replace(self._board.state.models[model], remark=remark))

    def _end(self, model: ModelName) -> None:
        self._let_go(model)
        del self._leaving[model]
        self._board.apply(without_model, model)
        self._learning.forget(model)
        self._board.emit(ForgetModel(model))

    def _let_go(self, model: ModelName) -> None:
        """Of its slab, which belongs to what it was."""
        self._slabs.known_anew(model)
        if self._board.state.ram.find(model) is not None:
            self._board.apply(ledger.drop_slab, model)
            self._board.emit(DropSlab(model))
