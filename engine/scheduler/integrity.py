"""The scrub of the RAM tier: each slab is compared with its checksum once, while nothing else is under way; and what becomes of a
damaged one and of whoever runs on its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from msgspec.structs import replace

from engine.core import ledger
from engine.core.names import ModelName
from engine.core.records import Notice
from engine.core.state import Slab
from engine.scheduler.board import Board
from engine.scheduler.effects import DropSlab, InvalidateSlab, StopVerifying, VerifySlab, Write
from engine.scheduler.messages import SlabVerified

QUIET_S: Final = 5.0
"""So long nothing must have been under way: between switches that follow one another a check would only be in the way."""


class Scrub:
    """One slab at a time; any command and any reading comes first."""

    def __init__(self, board: Board) -> None:
        self._board: Final = board
        self._checking: ModelName | None = None
        self._stopping = False
        self._quiet_from_s = float("-inf")
        self._whole: Final[set[ModelName]] = set()
        """Not checked again while the engine lives, unless they are prepared anew."""

    def prepared_anew(self, model: ModelName) -> None:
        """The model's slab is another file now."""
        self._whole.discard(model)

    def found(self, report: SlabVerified, jobs: int) -> None:
        """What a check found. It counts only while nothing is under way; else the slab is checked once more."""
        self._checking, self._stopping = None, False
        slab = self._board.state.ram.find(report.model)
        # With a job under way the finding may be of bytes that are gone: the slab may have been dropped and read anew since.
        if report.finding == "stopped" or jobs or slab is None or slab.stage != "kept":
            return
        match report.finding:
            case "whole":
                self._whole.add(report.model)
            case "replaced":
                self._let_go(report.model)
            case "altered" | "damaged":
                self._condemn(slab, report)
            case _:
                assert_never(report.finding)

    def found_while_read(self, model: ModelName, damage: str) -> None:
        """Its file is given up already, and nobody has run on its bytes."""
        board = self._board
        fate = f"Nobody was answered with it; it is prepared anew with the next load, or now: `citadel prepare {model} --check`"
        board.emit(Write(Notice(board.now.wall_s, "error", f"{damage}. {fate}", model=model)))
        board.know_model(replace(board.state.models[model], prepared=False))
        self.prepared_anew(model)

    def to_take_off(self) -> Sequence[ModelName]:
        """Models that are ready on a device with the bytes of a damaged slab, and not about to be loaded anew."""
        state = self._board.state
        stages = {slab.model: {r.stage for r in state.of(slab.model)} for slab in self._damaged()}
        return [model for model, found in stages.items() if "ready" in found and not found & {"pending", "loading"}]

    def drop_damaged(self) -> None:
        """Let go of damaged slabs once nobody runs on their bytes; until then they keep those from being written back."""
        board = self._board
        for slab in self._damaged():
            # A load that is on its way has not copied from it: none begins to while the slab is damaged, it waits for another.
            if all(r.stage in ("pending", "loading") for r in board.state.of(slab.model)):
                board.apply(ledger.drop_slab, slab.model)
                board.emit(DropSlab(slab.model))

    def consider(self, jobs: int) -> None:
        """Begin the next check when it has been quiet, and give up one when something is under way."""
        slabs, now_s = self._board.state.ram.slabs, self._board.now.mono_s
        busy = jobs > 0 or self._board.is_quiet or any(slab.stage != "kept" for slab in slabs)
        if busy:
            self._quiet_from_s = now_s + QUIET_S
        if self._checking is None and not busy and now_s >= self._quiet_from_s:
            self._checking = next((s.model for s in slabs if s.model not in self._whole), None)
            if self._checking is not None:
                self._board.emit(VerifySlab(self._checking))
        elif self._checking is not None and busy and not self._stopping:
            self._stopping = True
            self._board.emit(StopVerifying(self._checking))

    def _damaged(self) -> Sequence[Slab]:
        return [slab for slab in self._board.state.ram.slabs if slab.stage == "damaged"]

    def _let_go(self, model: ModelName) -> None:
        """The model's file was prepared anew since its slab was read: nobody is to load from that; the CPU may run from it."""
        if ledger.slab_in_use(self._board.state, model):
            self._whole.add(model)  # what there is to know of it is known; a load finds out by itself
        else:
            self._board.apply(ledger.drop_slab, model)
            self._board.emit(DropSlab(model))

    def _condemn(self, slab: Slab, report: SlabVerified) -> None:
        """Trust neither the slab in the RAM tier any more nor, if the file is damaged, the file."""
        board, model = self._board, report.model
        board.emit(Write(Notice(board.now.wall_s, "error", self._what_happened(report), model=model)))
        board.apply(ledger.put_slab, replace(slab, stage="damaged"))
        if report.finding == "damaged":
            board.know_model(replace(board.state.models[model], prepared=False))
            board.emit(InvalidateSlab(model))

    def _what_happened(self, report: SlabVerified) -> str:
        model = report.model
        devices = " and ".join(r.device for r in self._board.state.of(model))
        fate = f" {model} is taken off {devices}; what it answered there may be wrong." if devices else ""
        if report.finding == "damaged":
            return (
                f"{report.path} is damaged: its bytes are not those that were prepared. Its copy in the RAM tier is dropped."
                f"{fate} The next load prepares {model} anew, or `citadel prepare {model} --check` does it now"
            )
        return (
            f"the copy of {model} in the RAM tier is not what {report.path} holds, which is whole; it is dropped.{fate}"
            " The next load reads the file again; if this comes back, have the host's memory tested"
        )
