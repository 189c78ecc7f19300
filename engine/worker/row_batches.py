"""Which rows of which requests run together: the pick of a batch, in turn between requests (dynamic batching), and what the
times of a lane's batches say about how large one should be. Pure: no torch, no thread, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import combinations
from statistics import median
from typing import Final, Generic, NamedTuple, TypeVar

_FEWEST_TOKENS: Final = 128
"""Ten short texts: figures that are off never make batches of one. A text of a dozen tokens waits for at most a dozen times its
own time even where a batch costs nothing beside its tokens."""
_FIRST_TOKENS: Final = 1024
"""Of a batch of which nobody can know yet how long it takes."""
_UNNOTICED_S: Final = 0.05
"""A batch that takes no longer delays nobody who would notice."""
_WORTH: Final = 12
"""A batch's tokens may take so many times what any batch takes: 12/13 of the best throughput. More only lengthens the wait."""
_FEWEST: Final = 3
"""Batches of a size, within a factor of two, that say something: one may have been held up by something else."""
_KEPT: Final = 8
"""The last batches of a size, which count: so a rare size is remembered while another is common."""
_REMEMBERED: Final = 300
"""Batches after which one is forgotten whose size no longer comes: the device may have been busy with something else then."""
_APART: Final = 1.5
"""How much larger one size must be than another before the two tell what a token takes, and what any batch does."""


class Bounds(NamedTuple):
    """How large a batch may be. A row that is longer than all tokens runs, alone."""

    rows: int
    tokens: int
    """Padding included."""
    padding: int
    """More of it than the text has tokens, by so many, is worth a batch of its own."""
    is_shared: bool = True
    """Whether it may hold rows of several requests."""


class WaitingRows:
    """A request's rows that have not run."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths: Final = lengths
        self.left: Final = deque(sorted(range(len(lengths)), key=lambda row: lengths[row]))
        """Their numbers, the shortest first."""

    @property
    def shortest(self) -> int:
        return self.lengths[self.left[0]]

    @property
    def longest(self) -> int:
        return self.lengths[self.left[-1]]

    def take(self, count: int) -> list[int]:
        """The shortest rows, which are no longer left then."""
        return [self.left.popleft() for _ in range(count)]


_R = TypeVar("_R", bound=WaitingRows)


class RowQueue(Generic[_R]):
    """Requests with rows that have not run, in the order of their turns."""

    def __init__(self) -> None:
        self._waiting: Final[deque[_R]] = deque()
        self._had_its_turn = False
        """Whether the last of them has only just had its turn, so that whoever comes goes first."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[_R]:
        return iter(self._waiting)

    def add(self, request: _R) -> None:
        """It has rows."""
        self._waiting.insert(len(self._waiting) - self._had_its_turn, request)

    def drop(self, request: _R) -> None:
        """Nothing happens where it doesn't wait."""
        if self._had_its_turn and self._waiting[-1] is request:
            self._had_its_turn = False
        if request in self._waiting:
            self._waiting.remove(request)

    def pick(self, bounds: Bounds) -> list[tuple[_R, int]]:
        """The rows of the next batch, which are no longer left then. Somebody waits.

        First comes the request whose turn it is, with as many rows as a batch of it alone would have. Room that is left goes
        to requests that this batch finishes, with rows of like length. Then it is the next one's turn, so that a request
        waits for at most one batch of each other. A large request never fills up the batch of a small one: each small one
        would then take the time of a full batch.
        """
        turn = self._waiting.popleft()
        picked = [(turn, row) for row in turn.take(_next_batch((turn.lengths[row] for row in turn.left), bounds))]
        shortest, longest = (turn.lengths[row] for row in (picked[0][1], picked[-1][1]))
        company: list[_R] = []
        for other in self._waiting if bounds.is_shared else ():
            if len(picked) == bounds.rows:
                break
            count = len(picked) + len(other.left)
            low, high = min(shortest, other.shortest), max(longest, other.longest)
            is_alike = high <= 2 * low or (high == longest and high <= 2 * other.shortest)
            if is_alike and count <= bounds.rows and count * high <= bounds.tokens:
                picked += [(other, row) for row in other.take(len(other.left))]
                company.append(other)
                shortest, longest = low, high
        for other in company:
            self._waiting.remove(other)
        if turn.left:
            self._waiting.append(turn)
        self._had_its_turn = bool(turn.left)
        return picked


def _next_batch(lengths: Iterable[int], bounds: Bounds) -> int:
    """How many rows of one request go together, given the shortest first: rows of like length, so that little is padding."""
    count = text = 0
    for length in lengths:  # the longest of its batch so far
        padded = (count + 1) * length
        text += length
        if count and (count == bounds.rows or padded > bounds.tokens or padded > 2 * text + bounds.padding):
            break
        count += 1
    return count


class _Took(NamedTuple):
    number: int
    tokens: int
    seconds: float


class BatchTimes:
    """How long the last batches of a lane took, and how large its next one may be."""

    def __init__(self, most: Bounds) -> None:
        """`most`: what the memory of a batch was promised for."""
        self._most: Final = most
        self._of_size: Final[dict[int, deque[_Took]]] = {}
        self._batches = 0

    def note(self, tokens: int, seconds: float) -> None:
        """A batch of so many tokens, padding included, took so long."""
        self._batches += 1
        of_size = self._of_size.setdefault(tokens.bit_length(), deque(maxlen=_KEPT))
        of_size.append(_Took(self._batches, tokens, seconds))

    def bounds(self) -> Bounds:
        """Never more than was promised, nor more than twice what was tried."""
        since = self._batches - _REMEMBERED
        lately = ([took for took in of_size if took.number > since] for of_size in self._of_size.values())
        known = [_middle(took) for took in lately if len(took) >= _FEWEST]
        tried, took_s = max(known, default=(0.0, 0.0))
        tokens = max(2 * tried, _FIRST_TOKENS)
        if (line := _line(known)) is not None:
            fixed_s, token_s = line
            tokens = min(tokens, max(_WORTH * fixed_s, _UNNOTICED_S - fixed_s) / token_s)
        elif took_s > _UNNOTICED_S:
            tokens = tried * _UNNOTICED_S / took_s
        return self._most._replace(tokens=int(min(max(tokens, _FEWEST_TOKENS), self._most.tokens)))


def _middle(batches: Collection[_Took]) -> tuple[float, float]:
    """Medians of their tokens and seconds."""
    return median(took.tokens for took in batches), median(took.seconds for took in batches)


def _line(sizes: Collection[tuple[float, float]]) -> tuple[float, float] | None:
    """Seconds of any batch, and of a token, by (tokens, seconds); None where they tell neither. By medians (Theil and Sen), since
    a size that is rare may be known by a batch that was held up."""
    pairs = ((small, large) for small, large in combinations(sorted(sizes), 2) if large[0] >= _APART * small[0])
    slopes = [(large[1] - small[1]) / (large[0] - small[0]) for small, large in pairs]
    if not slopes or (token_s := median(slopes)) <= 0:
        return None
    return max(0.0, median(seconds - token_s * tokens for tokens, seconds in sizes)), token_s
