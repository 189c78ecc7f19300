"""The past of a whole recorded session, so that the timeline knows it wherever the playback is. Kept apart: it decodes every line
of the session, which takes a while, and is run in a thread."""

from __future__ import annotations

from citadel_tui.lives import since_s
from citadel_tui.session.file import Session
from citadel_tui.timeline.chronicle import Chronicle, take_up
from engine.api import Recorded, Updated


def session_past(session: Session) -> Chronicle:
    """From what the engine had recorded before to the end of the session."""
    past = Chronicle()
    take_up(past, session.head.records, since_s(session.head.hello))
    for number in range(len(session.lines)):
        match session.event(number):
            case Updated(snapshot=snapshot):
                past.showed(snapshot)
            case Recorded(record=record):
                past.record(record)
    return past
