"""How the fetching of a model goes, in words: bytes, rate, and how long it takes yet."""

from __future__ import annotations

from collections import deque
from typing import Final

from engine.core.pulling import PullAdvanced, PullBegun, PullCut, PullNews
from engine.core.sizes import format_size

_WINDOW_S: Final = 10.0
"""The rate is that of so many seconds: a line that slows down is to be seen."""


class PullProgress:
    """Hears the news, each with the time on a steady clock, and words them."""

    def __init__(self, repository: str) -> None:
        self._repository: Final = repository
        self._begun: PullBegun | None = None
        self._seen: Final[deque[tuple[float, int]]] = deque()

    def hear(self, news: PullNews, now_s: float) -> str:
        """The line to show now; empty where nothing has to be."""
        match news:
            case PullBegun():
                self._begun = news
                self._seen.append((now_s, news.there_bytes))
                return self._line(news.there_bytes)
            case PullAdvanced(done_bytes=done_bytes):
                self._seen.append((now_s, done_bytes))
                while len(self._seen) > 2 and now_s - self._seen[0][0] > _WINDOW_S:
                    self._seen.popleft()
                return self._line(done_bytes)
            case PullCut(reason=reason):
                return f"{self._repository}: the line broke ({reason}); going on from where it was"
            case _:
                return ""

    def share(self) -> float:
        """Of all bytes, 0 to 1."""
        if self._begun is None or not self._seen:
            return 0.0
        return self._seen[-1][1] / max(self._begun.total_bytes, 1)

    def _line(self, done_bytes: int) -> str:
        if self._begun is None:
            return ""
        total_bytes = self._begun.total_bytes
        of = f"{self._repository}: {format_size(min(done_bytes, total_bytes))} of {format_size(total_bytes)}"
        (first_s, first_bytes), (last_s, last_bytes) = self._seen[0], self._seen[-1]
        if last_s <= first_s or last_bytes <= first_bytes:
            return of
        rate = (last_bytes - first_bytes) / (last_s - first_s)
        return f"{of}, {format_size(int(rate))}/s, {_left(max(total_bytes - done_bytes, 0) / rate)} left"


def _left(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
