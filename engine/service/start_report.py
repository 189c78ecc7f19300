"""What a process that was started tells its starter: that it answers, or why it does not."""

from __future__ import annotations

from collections.abc import Callable

from engine.core.serialization import to_json
from engine.wire import StartReport


def reporter(descriptor: int | None) -> Callable[[StartReport], None]:
    """Writes the first report to the descriptor and closes it; says nothing when nobody gave one."""
    listeners = [] if descriptor is None else [descriptor]

    def tell(report: StartReport) -> None:
        while listeners:
            with open(listeners.pop(), "wb") as pipe:
                pipe.write(to_json(report))

    return tell
