"""What the engine's process does at its start so that its event loop is prompt; whoever measures an engine does the same."""

from __future__ import annotations

import gc

from engine.short_turns import ask_for_short_turns


def keep_loop_prompt() -> None:
    """For the calling thread, once everything is imported: short turns, and no garbage collection of what was imported, for which
    nothing would be answered for milliseconds."""
    ask_for_short_turns()
    gc.freeze()
