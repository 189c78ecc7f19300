"""A rate that its users share equally: the disk among reads, a device among the models that run on it."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, TypeVar

User = TypeVar("User", bound=Hashable)


class SharedRate(Generic[User]):
    """Processor sharing: with n users each gets 1/n of the rate, and what one leaves the others have at once.

    Amounts are bytes where the rate is bytes per second, seconds of work where it is a speed.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left: dict[User, float] = {}
        self._at_s = 0.0
        self._next: tuple[float, User] | None = None

    @property
    def next_s(self) -> float:
        """When the next user will be done; infinity when there is none."""
        return self._next[0] if self._next else math.inf

    def start(self, user: User, amount: float, now_s: float) -> None:
        """From now on `user` takes part, until it has had `amount`."""
        self._pass(now_s)
        self._left[user] = amount
        self._look_ahead()

    def stop(self, user: User, now_s: float) -> bool:
        """`user` takes part no longer. False when it was done already."""
        self._pass(now_s)
        stopped = self._left.pop(user, None) is not None
        self._look_ahead()
        return stopped

    def take(self) -> User:
        """The user that is done at `next_s`, taken off."""
        assert self._next is not None
        done_s, user = self._next
        self._pass(done_s)
        del self._left[user]
        self._look_ahead()
        return user

    def _pass(self, now_s: float) -> None:
        if self._left:
            share = (now_s - self._at_s) * self._rate / len(self._left)
            self._left = {user: left - share for user, left in self._left.items()}
        self._at_s = now_s

    def _look_ahead(self) -> None:
        if not self._left:
            self._next = None
            return
        user = min(self._left, key=self._left.__getitem__)
        wait_s = max(0.0, self._left[user]) * len(self._left) / self._rate
        self._next = self._at_s + wait_s, user
