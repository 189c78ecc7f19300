"""The switch log as lines: switches with their phases, and what else happened, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, assert_never

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.spans import Line, Role, Span, filled, left
from citadel_tui.viewmodel.switch_line import Columns, columns_for, columns_of, switch_line
from citadel_tui.words.figures import clock_text
from engine.core.commands import command_text
from engine.core.records import Notice, Pinned, Record, Refused, Residency, Switch

_TIME: Final = 10


class _Known(NamedTuple):
    record: Record
    needs: Columns | None
    """The columns that it would fill; None for what is no switch."""
    line: Line | None = None


class Log:
    """Remembers the lines: three hundred of them take longer to work out than the console's loop may stand still."""

    def __init__(self, glyphs: Glyphs) -> None:
        self._glyphs = glyphs
        self._known: dict[int, _Known] = {}
        self._laid_out: tuple[Columns, int] | None = None

    def lines(self, records: Iterable[Record], width: int) -> dict[int, Line]:
        """A line for each record that the operator should see, by sequence number, newest first."""
        known = [self._recalled(record) for record in sorted(records, key=lambda r: -r.seq)]
        columns = columns_for((k.needs for k in known if k.needs), width)
        kept = self._laid_out == (columns, width)
        drawn = [k if kept and k.line is not None else self._drawn(k, columns, width) for k in known]
        self._known = {k.record.seq: k for k in drawn}
        self._laid_out = (columns, width)
        return {seq: k.line for seq, k in self._known.items() if k.line}

    def _recalled(self, record: Record) -> _Known:
        """Another engine counts its records anew: only the same record has the same line."""
        before = self._known.get(record.seq)
        if before is not None and before.record is record:
            return before
        entry = record.entry
        return _Known(record, columns_of(entry, self._glyphs) if isinstance(entry, Switch) else None)

    def _drawn(self, known: _Known, columns: Columns, width: int) -> _Known:
        told = _line(known.record, columns, width, self._glyphs)
        return known._replace(line=filled(told, width, self._glyphs.ellipsis) if told else ())


def log_lines(records: Iterable[Record], width: int, glyphs: Glyphs) -> dict[int, Line]:
    """The lines of records that are looked at once."""
    return Log(glyphs).lines(records, width)


def _line(record: Record, columns: Columns, width: int, glyphs: Glyphs) -> Line:
    match record.entry:
        case Switch() as switch:
            return (_time(switch.at_s), *switch_line(switch, columns, width, glyphs))
        case Refused() as refused:
            text = f"refused: {command_text(refused.refusal.command)}: {refused.refusal.reason}"
            return _sentence(refused.at_s, text, "bad", glyphs)
        case Pinned() as pinned:
            return _sentence(pinned.at_s, command_text(pinned.plan.command), "text", glyphs)
        case Notice() as notice:
            return _sentence(notice.at_s, notice.text, _LEVELS[notice.level], glyphs)
        case Residency():
            return ()
        case _:
            assert_never(record.entry)


_LEVELS: Final[dict[str, Role]] = {"info": "dim", "warning": "warn", "error": "bad"}


def _sentence(at_s: float, text: str, role: Role, glyphs: Glyphs) -> Line:
    return (_time(at_s), Span(glyphs.text(text), role))


def _time(at_s: float) -> Span:
    return Span(left(f"  {clock_text(at_s)}", _TIME) + " ", "dim")
