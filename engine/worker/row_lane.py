"""The lane of models that read texts: rows of all requests that wait share batches, and nobody waits for company.

A thread reads what came meanwhile, picks a batch, runs it in the device's turn, and answers the requests that it finished.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import torch
from msgspec import Struct

from engine.core.models import Limits
from engine.core.tasks import TaskResult
from engine.worker.errors import BadRequest, Left, NotResident, OutOfMemory
from engine.worker.lanes import Asked, Turn
from engine.worker.row_batches import BatchTimes, Bounds, RowQueue, WaitingRows
from engine.worker.running import Measurement, RunMemory, RunOutcome, in_parts, once_more

MOST_FIGURES: Final = 24 << 20
"""Of an answer: it must fit into a frame, also as text, and whoever passes it on has nobody else wait long for that."""
Row = TypeVar("Row")
R_contra = TypeVar("R_contra", contravariant=True)


class ReadRows(Struct, Generic[Row], frozen=True, eq=False):
    """What a task is to the model, once it has been read and found right."""

    rows: Sequence[Row]
    lengths: Sequence[int]
    """Tokens of each row."""
    result: Callable[[torch.Tensor], TaskResult]
    """What becomes of what the model makes of the rows, one each. Raises where that is no answer."""


class RowModel(Protocol[R_contra]):
    """A bound model that makes of each row, which is read already, a row of figures."""

    @property
    def limits(self) -> Limits:
        """The largest batch that its memory was promised for."""
        ...

    @property
    def width(self) -> int:
        """Figures of a row."""
        ...

    @property
    def memory(self) -> RunMemory: ...

    @property
    def suits_company(self) -> bool:
        """Whether no row's figures depend, beyond rounding, on the others of its batch."""
        ...

    def forward(self, rows: Sequence[R_contra]) -> torch.Tensor:
        """Float32 on the host, of one batch."""
        ...


class _Made(NamedTuple):
    """What a part of a batch came to."""

    figures: torch.Tensor
    seconds: float
    took: Measurement


class _Request(WaitingRows):
    """A request that has been read, and what has become of it so far."""

    def __init__(self, asked: Asked, read: ReadRows[Any], width: int) -> None:
        super().__init__(read.lengths)
        self.asked: Final = asked
        self.rows: Final = read.rows
        self.error: Exception | None = None
        self._result: Final = read.result
        if len(read.rows) * width > MOST_FIGURES:
            raise BadRequest(
                f"{len(read.rows)} rows of {width} figures are more than the {MOST_FIGURES} that one answer may have; send at"
                f" most {MOST_FIGURES // width} at once"
            )
        self._figures: Final = torch.empty((len(read.rows), width))
        self._open = len(read.rows)
        self._at_once = 0
        self._device_s = 0.0
        self._workspaces_bytes: Final[set[int | None]] = set()
        self._used_bytes: int | None = None

    @property
    def is_over(self) -> bool:
        return self.error is not None or self._open == 0

    def keep(self, row: int, figures: torch.Tensor) -> None:
        self._figures[row] = figures
        self._open -= 1

    def charge(self, tokens: int, device_s: float, took: Measurement) -> None:
        """Its batch had so many tokens, padding included, and its own share of the device's time was `device_s`."""
        self._at_once = max(self._at_once, tokens)
        self._device_s += device_s
        self._workspaces_bytes.add(took.workspace_bytes)
        self._used_bytes = took.used_bytes

    def outcome(self, limits: Limits) -> RunOutcome:
        """Raises where what the model made is no answer."""
        known = [taken for taken in self._workspaces_bytes if taken is not None]
        # Of the largest batch, for which `filled` is, nothing is known where one is not.
        workspace_bytes = max(known) if known and None not in self._workspaces_bytes else None
        filled = min(1.0, self._at_once / (limits.max_batch * limits.max_sequence))
        return RunOutcome(self._result(self._figures), filled, self._device_s, workspace_bytes, self._used_bytes)


_Batch: TypeAlias = list[tuple[_Request, int]]
"""Requests, and numbers of rows of theirs."""


def _requests(batch: _Batch) -> list[_Request]:
    """Each once, in order."""
    return list({request.asked.id: request for request, _ in batch}.values())


def _bare(error: Exception) -> Exception:
    """Without the frames that it came through: whoever keeps it would keep their tensors."""
    return error.with_traceback(None)


class RowLane:
    """Runs one bound model."""

    def __init__(self, model: RowModel[Any], read: Callable[[Any], ReadRows[Any]], turn: Turn, name: str) -> None:
        """`read` makes rows of a task; it raises BadRequest for one that can't be meant as it is."""
        self._model: Final = model
        self._read: Final = read
        self._turn: Final = turn
        self._name: Final = name
        limits = model.limits
        self._times: Final = BatchTimes(
            Bounds(limits.max_batch, limits.max_batch * limits.max_sequence, limits.max_sequence, model.suits_company)
        )
        self._bounds = self._times.bounds()
        self._changing: Final = threading.Condition()
        """Held for the four below, and never while anything is read, run or answered."""
        self._open: Final[dict[int, Asked]] = {}
        """Those that have not been answered, by their runs' numbers."""
        self._newcomers: Final[deque[Asked]] = deque()
        self._waiting: Final[RowQueue[_Request]] = RowQueue()
        """Those that have been read and have rows left."""
        self._under_way: Final[dict[int, bool]] = {}
        """Those that are being read, run or answered, and whether they were left meanwhile."""
        self._is_closed = False
        self._began_s: float | None = None
        threading.Thread(target=self._serve, name=f"rows-{name}", daemon=True).start()

    def take(self, asked: Asked) -> None:
        """Raises NotResident after `close`."""
        with self._changing:
            if self._is_closed:
                raise NotResident(f"{self._name} has just left this device")
            self._open[asked.id] = asked
            self._newcomers.append(asked)
            self._changing.notify()

    def leave(self, run: int) -> None:
        with self._changing:
            if (asked := self._open.get(run)) is None:
                return
            for request in [request for request in self._waiting if request.asked is asked]:
                self._waiting.drop(request)
            if run in self._under_way:
                self._under_way[run] = True  # what is being done for it can't be stopped, and nothing more is begun
                return
            del self._open[run]
            if asked in self._newcomers:
                self._newcomers.remove(asked)
        asked.fail(Left())

    def step_s(self) -> float | None:
        began_s = self._began_s
        return None if began_s is None else time.perf_counter() - began_s

    def close(self) -> None:
        with self._changing:
            self._is_closed = True
            self._changing.notify()

    def _serve(self) -> None:
        while self._has_work():
            self._serve_batch()

    def _serve_batch(self) -> None:
        self._read_newcomers()
        with self._turn.mine():
            # What came while it was another lane's turn is company, too; only a large request would keep the device waiting.
            self._read_newcomers(self._model.limits.max_batch)
            requests = self._run_batch()
        for request in requests:
            self._settle(request)
        self._bounds = self._times.bounds()  # now that those who waited for the batch have their answers

    def _has_work(self) -> bool:
        """Waits for it; false once there will be none."""
        with self._changing:
            self._changing.wait_for(lambda: self._open or self._is_closed)
            return bool(self._open)

    def _read_newcomers(self, largest: float = inf) -> None:
        """As many as could share a batch, so that reading holds up no batch for long, up to the first of more than `largest`
        rows."""
        rows = 0
        for _ in range(self._model.limits.max_batch):
            with self._changing:
                if (
                    not self._newcomers
                    or self._newcomers[0].task.work > largest
                    or rows >= self._model.limits.max_batch
                ):
                    return
                asked = self._newcomers.popleft()
                self._under_way[asked.id] = False
            try:
                request = _Request(asked, self._read(asked.task), self._model.width)
            except Exception as error:
                self._answer(asked, error)
                continue
            rows += len(request.rows)
            with self._changing:
                if request.left:
                    self._waiting.add(request)
            self._settle(request)

    def _run_batch(self) -> list[_Request]:
        """Whose rows were in it."""
        with self._changing:
            batch = self._waiting.pick(self._bounds) if self._waiting else []
            requests = _requests(batch)
            self._under_way.update((request.asked.id, False) for request in requests)
        try:
            self._forward(batch)
        finally:
            self._began_s = None
        return requests

    def _forward(self, batch: _Batch) -> None:
        """In as few parts as memory allows. An error is one request's own: where several share the batch, each runs alone."""
        done = 0
        again: list[_Batch] = []
        try:
            for part, made in in_parts(batch, self._measured, self._model.memory) if batch else ():
                self._hand_out(part, made)
                done += len(part)
        except OutOfMemory as error:  # of one row alone, the first that is not done
            batch[done][0].error = _bare(error)
            again = [[(request, row) for request, row in batch[done:] if not request.error]]
        except Exception as error:
            if len(requests := _requests(batch[done:])) == 1:
                requests[0].error = _bare(error)
            else:
                again = [[(request, row) for request, row in batch[done:] if request is one] for one in requests]
        for rest in again:  # out here the error is gone, and with its frames the tensors of the batch that failed
            self._forward(rest)

    def _measured(self, part: _Batch) -> _Made:
        with self._model.memory.measure() as took:
            self._began_s = began_s = time.perf_counter()
            figures = self._model.forward([request.rows[row] for request, row in part])
            seconds = time.perf_counter() - began_s
        return _Made(figures, seconds, took)

    def _hand_out(self, part: _Batch, made: _Made) -> None:
        lengths = [request.lengths[row] for request, row in part]
        padded, text = len(lengths) * max(lengths), sum(lengths)
        self._times.note(padded, made.seconds)
        for (request, row), figures, length in zip(part, made.figures, lengths, strict=True):
            request.keep(row, figures)
            request.charge(padded, made.seconds * length / text, made.took)

    def _settle(self, request: _Request) -> None:
        """Have it wait for its next batch, or answer it where there is none."""
        with self._changing:
            if not request.is_over and not self._under_way[request.asked.id]:
                del self._under_way[request.asked.id]
                return
            if request.left:
                self._waiting.drop(request)
        try:
            came = request.error or request.outcome(self._model.limits)
        except Exception as error:
            came = _bare(error)
        self._answer(request.asked, came)

    def _answer(self, asked: Asked, came: RunOutcome | Exception) -> None:
        with self._changing:
            del self._open[asked.id]
            was_left = self._under_way.pop(asked.id)
        if was_left:
            asked.fail(Left())
        elif isinstance(came, Exception):
            asked.fail(came)
        else:
            try:
                asked.end(came)
            except Exception as error:  # an answer that can't be sent: the lane goes on
                asked.fail(error)


def forward_alone(model: RowModel[Row], rows: Sequence[Row]) -> torch.Tensor:
    """One batch on the calling thread, for a first run. Raises OutOfMemory."""
    figures = once_more(lambda: model.forward(rows), model.memory)
    if figures is None:
        raise model.memory.shortage(len(rows))
    return figures
