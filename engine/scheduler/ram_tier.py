"""The slabs of the RAM tier as the scheduler keeps their books: what workers report changes them, what no longer fits leaves, and
while nothing else is under way the next one is read ahead or checked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal, assert_never

from msgspec.structs import replace

from engine.core import ledger
from engine.core.models import whole_pages
from engine.core.names import ModelName
from engine.core.planning.idleness import forgotten
from engine.core.planning.ram_tier import learned_back, slabs_to_drop
from engine.core.planning.read_ahead import worth_reading_ahead
from engine.core.state import Slab, State
from engine.scheduler.board import Board
from engine.scheduler.effects import DropSlab
from engine.scheduler.integrity import Scrub
from engine.scheduler.messages import (
    SlabAdvanced,
    SlabFailed,
    SlabNotWrittenBack,
    SlabOpened,
    SlabRead,
    SlabReport,
    SlabVerified,
    SlabWrittenBack,
)
from engine.scheduler.slab_flow import begin_reading, stop_reading


class Slabs:
    """`jobs` says how many commands are under way: they come before reading ahead and checking."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._readahead = Readahead(board)
        self._scrub = Scrub(board)

    def take(self, report: SlabReport, jobs: int) -> None:
        """Take a report in."""
        board = self._board
        match report:
            case SlabAdvanced(model, done):
                if (slab := board.state.ram.find(model)) is not None and slab.stage == "reading":
                    self._is_prepared_anew(model)
                for resident in board.state.of(model):
                    board.apply(ledger.advance, model, resident.device, done)
            case SlabOpened(model, _, size_bytes):
                self._measured(model, size_bytes)
                self._put(model, size_bytes, "filling")
            case SlabRead():
                self._read(report)
            case SlabFailed(model, kind, reason):
                board.apply(ledger.drop_slab, model)
                if kind == "damaged":
                    self._scrub.found_while_read(model, reason)
                self._readahead.failed(model, for_good=kind != "stopped")
            case SlabWrittenBack(model, device, size_bytes, copy_s):
                self._put(model, size_bytes, "kept")
                board.apply(learned_back, device, size_bytes, copy_s)
            case SlabNotWrittenBack(model):
                board.apply(ledger.drop_slab, model)
            case SlabVerified():
                self._scrub.found(report, jobs)
            case _:
                assert_never(report)

    def replaced(self, model: ModelName) -> None:
        """The model's file was prepared anew since its slab was read: what is read next is to be checked, too."""
        self._scrub.prepared_anew(model)

    def known_anew(self, model: ModelName) -> None:
        """The model is another one, or gone: what was found out about its slab holds no more."""
        self._scrub.prepared_anew(model)
        self._readahead.ended(model)

    def drop_damaged(self) -> Sequence[ModelName]:
        """Let go of damaged slabs that nobody runs on; the models that are to be taken off their devices for the others."""
        self._scrub.drop_damaged()
        return self._scrub.to_take_off()

    def settle(self, jobs: int, awaited: Collection[ModelName]) -> None:
        """Keep the tier within its bounds, then see whether there is time to read ahead or to check. `awaited`: the models that
        jobs load."""
        for model in slabs_to_drop(self._board.situation):
            self._board.apply(ledger.displace_slab, model)
            self._board.emit(DropSlab(model))
        self._forget()
        self._readahead.consider(jobs, awaited)
        self._scrub.consider(jobs)

    def _forget(self) -> None:
        """Let go of weights that nobody has used for long."""
        board = self._board
        for model in forgotten(board.state, board.now.wall_s):
            slab = board.state.ram.find(model)
            if slab is not None and slab.stage == "kept":
                board.apply(ledger.drop_slab, model)
                board.emit(DropSlab(model))

    def _is_prepared_anew(self, model: ModelName) -> None:
        """What goes on before a slab is open is its preparing: what was prepared has gone, or its checkpoint is another one."""
        known = self._board.state.models[model]
        if known.prepared:
            self._board.know_model(replace(known, prepared=False))

    def _read(self, report: SlabRead) -> None:
        self._readahead.ended(report.model)
        if report.tier == "source":
            self._scrub.prepared_anew(report.model)
        self._measured(report.model, report.size_bytes)
        self._put(report.model, report.size_bytes, "kept")

    def _put(self, model: ModelName, size_bytes: int, stage: Literal["filling", "kept"]) -> None:
        before = self._board.state.ram.find(model)
        slab = Slab(model, size_bytes, stage, self._board.now.wall_s, before.ahead if before else "")
        self._board.apply(ledger.put_slab, slab)

    def _measured(self, model: ModelName, size_bytes: int) -> None:
        """The slab tells the weights' true size."""
        board = self._board
        known = board.state.models[model]
        label: Literal["measured", "learned"] = "learned" if known.footprint.label == "learned" else "measured"
        footprint = whole_pages(replace(known.footprint, weights_bytes=size_bytes, label=label))
        board.know_model(replace(known, prepared=True, footprint=footprint))


class Readahead:
    """One slab at a time, where that is worth its place, while nothing else is under way; any command comes first."""

    def __init__(self, board: Board) -> None:
        self._board: Final = board
        self._reading: ModelName | None = None
        self._stopping = False
        self._unreadable: Final[set[ModelName]] = set()
        """Failed to be read ahead; a load will say why."""
        self._nothing_in: State | None = None
        """The last state in which nothing was worth reading ahead."""

    def ended(self, model: ModelName) -> None:
        """The reading of a slab has ended well, whoever wanted it."""
        self._unreadable.discard(model)
        self._forget(model)

    def failed(self, model: ModelName, *, for_good: bool) -> None:
        """It has not; nor will it by itself, if that is `for_good`."""
        # Only our own: what a load had read, it will try again or tell of itself.
        if for_good and model == self._reading:
            self._unreadable.add(model)
        self._forget(model)

    def consider(self, jobs: int, awaited: Collection[ModelName]) -> None:
        """Begin the next reading when nothing is under way, and give up one that no job waits for when something is."""
        board = self._board
        busy = jobs > 0 or board.is_quiet
        if self._reading is None and not busy:
            shunned = self._unreadable | forgotten(board.state, board.now.wall_s)
            # By identity, as the search for what is worth it need not be made again where nothing has changed.
            if board.state is not self._nothing_in and (found := worth_reading_ahead(board.situation, shunned)):
                self._reading = found.model
                begin_reading(board, found.model, found.reason)
            else:
                self._nothing_in = board.state
        # A job that wants this very model goes on with the reading, instead of stopping it and beginning again.
        elif self._reading is not None and busy and not self._stopping and self._reading not in awaited:
            self._stopping = True
            stop_reading(board, self._reading)

    def _forget(self, model: ModelName) -> None:
        if model == self._reading:
            self._reading = None
            self._stopping = False
