"""Which rows of which requests run together: the pick of a batch, in turn between requests (dynamic batching), and what the
times of a lane's batches say about how large one should be. Pure: no torch, no thread, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations, islice
from statistics import median
from typing import Final, NamedTuple, TypeVar

_FIRST_TOKENS: Final = 1024
"""Of a batch of which nobody can know yet how long it takes."""
_UNNOTICED_S: Final = 0.05
"""A batch that takes no longer delays nobody who would notice."""
_WORTH: Final = 8
"""A batch's tokens may take so many times what any batch takes: 8/9 of the best throughput. More only lengthens the wait."""
_KEPT: Final = 8
"""Batches of a size, within a factor of two, that count: so a rare size is remembered while another is common."""
_REMEMBERED: Final = 300
"""Batches after which one is forgotten whose size no longer comes: the device may have been busy with something else then."""
_APART: Final = 1.5
"""How much larger one size must be than another before the two tell what a token takes, and what any batch does."""


class Bounds(NamedTuple):
    """How large a batch may be. A row that is longer than all tokens runs, alone."""

    rows: int
    tokens: int
    """Padding included."""
    fixed: int
    """For how many tokens' time any batch takes, beside its own: so much padding is as good as another batch."""


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


def pick(waiting: deque[_R], bounds: Bounds) -> list[tuple[_R, int]]:
    """The rows of the next batch. They are no longer left then, and requests without any leave `waiting`.

    First comes the request whose turn it is, with as many rows as a batch of it alone would have. Room that is left goes to
    requests that this batch finishes, with rows of like length. Then it is the next one's turn, so that a request waits for
    at most one batch of each other. A large request never fills up the batch of a small one: each small one would then take
    the time of a full batch.
    """
    turn = waiting[0]
    picked = [(turn, row) for row in turn.take(_next_batch((turn.lengths[row] for row in turn.left), bounds))]
    shortest, longest = (turn.lengths[row] for row in (picked[0][1], picked[-1][1]))
    for other in islice(waiting, 1, None):
        count = len(picked) + len(other.left)
        if count > bounds.rows:
            continue
        low, high = min(shortest, other.shortest), max(longest, other.longest)
        is_alike = high <= 2 * low or (high == longest and high <= 2 * other.shortest)
        if is_alike and count * high <= bounds.tokens:
            picked += [(other, row) for row in other.take(len(other.left))]
            shortest, longest = low, high
            if len(picked) == bounds.rows:
                break
    waiting.rotate(-1)
    for request in {id(request): request for request, _ in picked}.values():
        if not request.left:
            waiting.remove(request)
    return picked


def _next_batch(lengths: Iterable[int], bounds: Bounds) -> int:
    """How many rows of one request go together, given the shortest first: rows of like length, so that little is padding."""
    count = text = 0
    for length in lengths:  # the longest of its batch so far
        padded = (count + 1) * length
        text += length
        if count and (count == bounds.rows or padded > bounds.tokens or padded > 2 * text + bounds.fixed):
            break
        count += 1
    return count


class _Took(NamedTuple):
    number: int
    tokens: int
    seconds: float


class BatchTimes:
    """How long the last batches of a lane took, and how large its next one may be."""

    def __init__(self, most_rows: int, most_tokens: int) -> None:
        """`most_tokens` of a batch are those that its memory was promised for, padding included."""
        self._most_rows: Final = most_rows
        self._most_tokens: Final = most_tokens
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
        known = [_middle(took) for took in lately if took]
        tried, took_s = max(known, default=(0.0, 0.0))
        most = min(self._most_tokens, max(2 * tried, _FIRST_TOKENS))
        if (line := _line(known)) is not None:
            fixed_s, token_s = line
            tokens = max(_WORTH * fixed_s, _UNNOTICED_S - fixed_s) / token_s
            return Bounds(self._most_rows, _whole(tokens, most), _whole(fixed_s / token_s, self._most_tokens))
        unnoticed = tried * _UNNOTICED_S / took_s if took_s > _UNNOTICED_S else most
        return Bounds(self._most_rows, _whole(unnoticed, most), self._most_tokens)


def _whole(tokens: float, most: float) -> int:
    return int(max(1, min(tokens, most)))


def _middle(batches: Collection[_Took]) -> tuple[float, float]:
    """Medians of their tokens and seconds: one batch that something else held up says nothing about the next."""
    return median(took.tokens for took in batches), median(took.seconds for took in batches)


def _line(sizes: Collection[tuple[float, float]]) -> tuple[float, float] | None:
    """Seconds of any batch, and of a token, by (tokens, seconds); None where they tell neither. By medians (Theil and Sen), since
    a size that is rare may be known by a batch that was held up."""
    pairs = ((small, large) for small, large in combinations(sorted(sizes), 2) if large[0] >= _APART * small[0])
    slopes = [(large[1] - small[1]) / (large[0] - small[0]) for small, large in pairs]
    if not slopes or (token_s := median(slopes)) <= 0:
        return None
    return max(0.0, median(seconds - token_s * tokens for tokens, seconds in sizes)), token_s
