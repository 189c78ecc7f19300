"""The lane of a model that writes: several texts at once, token by token, which join and leave between two tokens.

One thread steps the rows that share a cache. Before each step it lets go of those that nobody waits for any more, and reads at
most one piece of one prompt, so that a long one holds up the others for a piece. A text that can't share is written by
`generate`, on a thread of its own; all take the device's turn, which goes round after each token.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, TypeAlias, TypeVar

import torch
from msgspec import Struct

from engine.worker.errors import Left, OutOfMemory
from engine.worker.lanes import Asked, Turn
from engine.worker.running import Measurement, RunMemory, RunOutcome, is_shortage, once_more
from engine.worker.shared_rows import Forward, Reading, SharedRows
from engine.worker.writing import Writing

PIECE_TOKENS: Final = 128
"""Of a prompt, read at once while others write."""
SHORT_PROMPT_TOKENS: Final = 32
"""A shorter prompt counts as one of these: to read it takes hardly less."""
_T = TypeVar("_T")
_Answer: TypeAlias = RunOutcome | Exception


class Writer(Protocol):
    """Knows the model's tokens and settings."""

    def begin(self, asked: Asked) -> Writing:
        """The text that was asked for, of which nothing is written yet. Raises what is wrong with it."""
        ...

    def write_alone(self, writing: Writing, between: Callable[[], None]) -> None:
        """Write all of it, calling `between` after each token; what that raises ends the writing."""
        ...


class Room(Struct, frozen=True):
    """For the keys and values of how many rows and tokens the model's footprint has room."""

    rows: int
    tokens: int

    def takes(self, new: Writing, running: Collection[Writing]) -> bool:
        """Whether one more may begin beside those that run, however long all of them get. One by itself always may."""
        everyone = (*running, new)
        rows = sum(writing.recipe.rows for writing in everyone)
        return not running or (rows <= self.rows and _most_tokens(everyone) <= self.tokens)


class WritingLane:
    """Implements `lanes.Lane`. Who waits is begun in the order of asking, and nobody overtakes."""

    def __init__(
        self,
        name: str,
        writer: Writer,
        forward: Forward,
        room: Room,
        memory: RunMemory,
        turn: Turn,
        piece_tokens: int = PIECE_TOKENS,
    ) -> None:
        self._name: Final = name
        self._writer: Final = writer
        self._forward: Final = forward
        self._room: Final = room
        self._memory: Final = memory
        self._turn: Final = turn
        self._piece_tokens: Final = piece_tokens
        self._changing: Final = threading.Lock()
        """Held while a run goes from one of the next four to another."""
        self._waiting: Final[deque[Asked]] = deque()
        self._begun: Writing | None = None
        """The oldest that waits, once its prompt is known."""
        self._running: Final[dict[int, Writing]] = {}
        """By the number of the run, in the order in which they began."""
        self._ended: list[tuple[Writing, _Answer]] = []
        """What is not answered yet: only when its keys and values are gone is a run over."""
        self._stirred: Final = threading.Event()
        """There is something new for the thread."""
        self._is_closed = False
        self._reading: tuple[Writing, Reading] | None = None
        self._rows: Final = SharedRows(forward)
        self._writings: list[Writing] = []
        """Those whose rows they are, in their order."""
        self._peak_tokens = 0
        self._began_s: float | None = None
        threading.Thread(target=self._serve, name=f"write-{name}", daemon=True).start()

    @property
    def held_bytes(self) -> int:
        """Of keys and values of the texts that share their steps."""
        return self._rows.held_bytes

    def take(self, asked: Asked) -> None:
        with self._changing:
            self._waiting.append(asked)
        self._stirred.set()

    def leave(self, run: int) -> None:
        with self._changing:
            waiting = next((asked for asked in self._waiting if asked.id == run), None)
            if waiting is not None:
                self._waiting.remove(waiting)
            elif run in self._running:
                self._running[run].is_left = True
        if waiting is not None:
            waiting.fail(Left())
        self._stirred.set()

    def step_s(self) -> float | None:
        began_s = self._began_s
        return None if began_s is None else time.perf_counter() - began_s

    def close(self) -> None:
        self._is_closed = True
        self._stirred.set()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────

    @torch.inference_mode()
    def _serve(self) -> None:
        while (first := self._first()) is not None:
            measured = None
            try:
                # As a whole, from an idle lane to an idle lane: what runs at once can't be told apart.
                with self._memory.measure() as measured:
                    self._write_all(first)
            except Exception as error:  # of the device, which can't be measured any more
                self._fail_unanswered(error)
            self._answer(measured)

    def _first(self) -> Writing | None:
        """The next one, waited for; None when the lane is closed."""
        while not self._is_closed:
            if (first := self._next()) is not None:
                return first
            self._stirred.wait()
            self._stirred.clear()
        return None

    def _write_all(self, first: Writing) -> None:
        """Write, with all who join meanwhile, until nobody is left."""
        self._peak_tokens = 0
        new: Writing | None = first
        while self._running:
            self._answer(None)
            if new is not None:
                self._start(new)
            try:
                self._let_go()
                self._read_on()
                self._step()
            except Exception as error:
                self._fail_all(error)
            # Once nobody runs it is over, whoever waits: what a text took by itself is told by itself.
            new = self._next() if self._running and self._reading is None else None
            if self._running and new is None and not self._writings and self._reading is None:
                self._stirred.wait()  # only texts that are written alone are left
                self._stirred.clear()

    def _next(self) -> Writing | None:
        """The oldest that waits, when there is room for it; from then on it runs."""
        while (oldest := self._oldest()) is not None:
            if self._begun is None or self._begun.asked is not oldest:
                self._begun = self._begin(oldest)
            new = self._begun
            with self._changing:
                if new is None or not self._waiting or self._waiting[0] is not oldest:
                    continue  # refused, or left meanwhile
                if not self._room.takes(new, self._running.values()):
                    return None
                self._waiting.popleft()
                self._running[oldest.id] = new
                self._begun = None
            return new
        return None

    def _oldest(self) -> Asked | None:
        with self._changing:
            is_full = len(self._running) >= self._room.rows
            return None if is_full or not self._waiting else self._waiting[0]

    def _begin(self, asked: Asked) -> Writing | None:
        """None where it is refused, which is said."""
        try:
            return self._tried(lambda: self._writer.begin(asked))
        except Exception as error:
            with self._changing:
                if is_waiting := asked in self._waiting:
                    self._waiting.remove(asked)
            if is_waiting:
                asked.fail(error)
            return None

    def _start(self, writing: Writing) -> None:
        if writing.recipe.can_share:
            self._reading = writing, Reading(self._forward, writing.prompt)
            return
        name = f"write-{self._name}-{writing.asked.id}"
        threading.Thread(target=self._write_alone, args=(writing,), name=name, daemon=True).start()

    def _let_go(self) -> None:
        """Of those that nobody waits for."""
        if self._reading is not None and (writing := self._reading[0]).is_left:
            self._reading = None
            self._end(writing, Left())
        if left := [writing for writing in self._writings if writing.is_left]:
            self._leave(left)
            for writing in left:
                self._end(writing, Left())

    def _read_on(self) -> None:
        """The prompts of those that join, up to a piece in all."""
        left = self._piece_tokens
        while self._reading is not None:
            writing, prompt = self._reading
            if left < self._piece_tokens and len(prompt.prompt) > left:
                return  # whole with the next token: cut into smaller pieces it would take longer
            left -= max(self._read(writing, prompt), SHORT_PROMPT_TOKENS)
            if self._reading is None and left > 0 and (new := self._next()) is not None:
                self._start(new)

    def _read(self, writing: Writing, prompt: Reading) -> int:
        """A piece of it, or all where nobody else writes, and its first token after the last piece; how many were read."""
        before = prompt.done
        wanted = len(prompt.prompt) if len(self._running) == 1 else self._piece_tokens
        try:
            with self._on_device([writing]):
                is_read = self._tried(lambda: prompt.read(wanted))
                self._note_peak(prompt.done)
                if is_read:
                    self._reading = None
                    self._join(writing, prompt)
        except Exception as error:
            self._reading = None
            self._end(writing, error)
        return prompt.done - before

    def _join(self, writing: Writing, prompt: Reading) -> None:
        assert prompt.scores is not None
        if writing.take(prompt.scores):
            self._end(writing, self._outcome(writing))
        else:
            self._tried(lambda: self._rows.join(prompt))
            self._writings.append(writing)

    def _step(self) -> None:
        """The next token of each row."""
        if not self._writings:
            return
        with self._on_device(self._writings):
            scores = self._scores()
            self._note_peak()
            over = [
                (writing, answer)
                for row, writing in enumerate(self._writings)
                if (answer := self._taken(writing, scores[row : row + 1])) is not None
            ]
            self._leave([writing for writing, _ in over])
        for writing, answer in over:
            self._end(writing, answer)

    def _scores(self) -> torch.Tensor:
        """Of all rows. While memory lacks, the one that joined last is given up: without it there was enough."""
        while True:
            try:
                return self._tried(lambda: self._rows.step([writing.written[-1] for writing in self._writings]))
            except OutOfMemory as error:
                if len(self._writings) == 1:
                    raise
                newest = self._writings[-1]
                self._leave([newest])
                self._end(newest, error)

    def _taken(self, writing: Writing, scores: torch.Tensor) -> _Answer | None:
        """What came of a text that ends with this token; None while it goes on."""
        try:
            return self._outcome(writing) if writing.take(scores) else None
        except Exception as error:
            return error

    def _leave(self, over: Sequence[Writing]) -> None:
        kept = [row for row, writing in enumerate(self._writings) if writing not in over]
        self._tried(lambda: self._rows.keep(kept))
        self._writings = [self._writings[row] for row in kept]

    def _fail_all(self, error: Exception) -> None:
        """The rows can't go on: nobody knows what is in their cache."""
        failed = [*self._writings, *([self._reading[0]] if self._reading else [])]
        self._rows.keep([])
        self._writings, self._reading = [], None
        for writing in failed:
            self._end(writing, error)

    def _fail_unanswered(self, error: Exception) -> None:
        self._fail_all(error)
        with self._changing:
            unanswered = [*(writing for writing, _ in self._ended), *self._running.values()]
            self._ended = [(writing, error) for writing in unanswered]
            self._running.clear()

    def _write_alone(self, writing: Writing) -> None:
        """On a thread of its own."""

        def between() -> None:
            self._note_peak()
            self._clock_out([writing])
            self._turn.pass_on()
            self._began_s = time.perf_counter()
            if writing.is_left:
                raise Left

        try:
            with self._on_device([writing]):
                if writing.is_left:
                    raise Left
                self._writer.write_alone(writing, between)
            answer: _Answer = self._outcome(writing)
        except Exception as error:
            answer = error
        self._end(writing, answer)
        self._stirred.set()

    # ── what it takes, and what came of it ───────────────────────────────────────────────────────

    @contextmanager
    def _on_device(self, writings: Sequence[Writing]) -> Iterator[None]:
        """The device's turn, the time of which these share."""
        sharing = list(writings)  # as they are now: some end in this very step
        with self._turn.mine():
            self._began_s = time.perf_counter()
            try:
                yield
            finally:
                self._clock_out(sharing)

    def _clock_out(self, sharing: Sequence[Writing]) -> None:
        assert self._began_s is not None
        took_s = time.perf_counter() - self._began_s
        self._began_s = None
        for writing in sharing:
            writing.device_s += took_s / len(sharing)

    def _tried(self, run: Callable[[], _T]) -> _T:
        """Raises OutOfMemory."""
        done = once_more(lambda: (run(),), self._memory)
        if done is None:
            raise self._memory.shortage(len(self._running))
        return done[0]

    def _note_peak(self, reading: int = 0) -> None:
        """`reading`: tokens of the prompt that is read."""
        with self._changing:
            alone = sum(w.length * w.recipe.rows for w in self._running.values() if not w.recipe.can_share)
        shared = len(self._rows) * (self._rows.columns + 1)  # the newest of each row is held with the next step
        tokens = shared + reading + alone
        self._peak_tokens = max(self._peak_tokens, tokens)

    def _outcome(self, writing: Writing) -> RunOutcome:
        return RunOutcome(writing.continuation(), min(1.0, self._peak_tokens / self._room.tokens))

    def _end(self, writing: Writing, answer: _Answer) -> None:
        if isinstance(answer, RuntimeError) and is_shortage(answer):
            answer = self._memory.shortage(len(self._running))
        with self._changing:
            if self._running.pop(writing.asked.id, None) is not None:
                self._ended.append((writing, answer))

    def _answer(self, took: Measurement | None) -> None:
        """Those that have ended. What all of them took belongs to the last."""
        with self._changing:
            ended, self._ended = self._ended, []
        for writing, answer in ended:
            is_last = writing is ended[-1][0]
            if isinstance(answer, Exception):
                writing.asked.fail(answer)
            else:
                figures = took if took is not None and is_last else Measurement()
                writing.asked.end(answer.with_figures(writing.device_s, figures))


def _most_tokens(writings: Collection[Writing]) -> int:
    """Tokens whose keys and values these hold at their longest: of those that share, each takes as many as the longest."""
    shared = [writing.longest for writing in writings if writing.recipe.can_share]
    alone = [writing.longest * writing.recipe.rows for writing in writings if not writing.recipe.can_share]
    return len(shared) * max(shared, default=0) + sum(alone)
