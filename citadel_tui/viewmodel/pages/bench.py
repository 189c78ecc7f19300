"""A benchmark as lines: what can be ticked for it, the repeats so far as a histogram, the finished series as a table, and two
runs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from msgspec import Struct
from msgspec.structs import replace

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.graph import graph
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.prose import section, sentences
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, cut_middle, left, right
from citadel_tui.words.bench import efficiency_text, ms_text, result_name, start_text, subject_name
from engine.bench.compare import BenchComparison, Compared
from engine.bench.measure import Progress, Schedule
from engine.bench.records import BenchResult, BenchSubject, FromTier, Omission, Series
from engine.bench.run import Chosen, gpus_of
from engine.bench.statistics import histogram, spread
from engine.core.names import ModelName
from engine.core.records import SWITCH_TARGET_S
from engine.core.state import State

THRESHOLD: Final = 0.1
"""A median that has grown by more, and by more than chance, is called slower, as `citadel bench compare` does."""
_NUMBER: Final = 7
_COUNT: Final = 3
_STEPS: Final = 32
_ROWS: Final = 4
_ENOUGH_FOR_A_SHAPE: Final = 3
_MOST_NAME: Final = 44
_WIDE: Final = 66
"""From this width on a row has all its columns."""
Group: TypeAlias = Literal["models", "pairs", "devices", "from", "repeats"]
REPEATS: Final = (3, 5, 7, 15, 31)
WARM_UP: Final = 1
PAIRS: Final = "every model out for every other"
_LABEL: Final = 10
_TIERS: Final[dict[FromTier, str]] = {
    "ram": "the RAM tier",
    "page-cache": "a file cached by Linux",
    "disk": "a file read from disk",
    "resident": "no load, one request",
}


# ── what is chosen ────────────────────────────────────────────────────────────────────────────────


class BenchItem(NamedTuple):
    """A line of the list."""

    group: Group
    name: str


class BenchPlan(Struct, frozen=True):
    """The list with its ticks."""

    items: tuple[BenchItem, ...]
    ticked: frozenset[BenchItem]
    synthetic: frozenset[ModelName]
    repeats: int = 7

    @property
    def what(self) -> Chosen:
        """What is to be measured."""
        tiers = tuple(tier for tier in get_args(FromTier) if BenchItem("from", tier) in self.ticked)
        return Chosen(self._ticked("models"), self._ticked("devices"), tiers, self._in_pairs)

    @property
    def how(self) -> Schedule:
        return Schedule(self.repeats, WARM_UP)

    @property
    def missing(self) -> str:
        """What must be ticked yet, in words; empty when it can begin."""
        wanted: tuple[tuple[Group, str], ...] = (
            ("models", "a model"),
            ("devices", "a device"),
            ("from", "where loads start from"),
        )
        missing = next((f"tick {what}" for group, what in wanted if not self._ticked(group)), "")
        return missing or ("tick a second model: a pair takes two" if not self.what.subjects else "")

    def turned(self, item: BenchItem) -> BenchPlan:
        """With the tick of `item` set or taken away."""
        return replace(self, ticked=self.ticked ^ {item})

    def with_group(self, group: Group) -> BenchPlan:
        """With every item of the group ticked; with none where all were."""
        all_of_it = frozenset(item for item in self.items if item.group == group)
        others = self.ticked - all_of_it
        return replace(self, ticked=others if all_of_it <= self.ticked else others | all_of_it)

    def with_repeats(self, steps: int) -> BenchPlan:
        """With more repeats, or fewer."""
        at = REPEATS.index(self.repeats) + steps
        return replace(self, repeats=REPEATS[min(max(at, 0), len(REPEATS) - 1)])

    @property
    def _in_pairs(self) -> bool:
        return BenchItem("pairs", PAIRS) in self.ticked

    def _ticked(self, group: Group) -> tuple[str, ...]:
        return tuple(item.name for item in self.items if item.group == group and item in self.ticked)


def choice_for(state: State, models: tuple[ModelName, ...]) -> BenchPlan:
    """What can be measured now; ticked are `models` on each GPU from the RAM tier."""
    items = (
        *(BenchItem("models", name) for name, model in state.models.items() if not model.trouble),
        BenchItem("pairs", PAIRS),
        *(BenchItem("devices", device) for device, known in state.devices.items() if known.reading.health == "ok"),
        *(BenchItem("from", tier) for tier in _TIERS),
        BenchItem("repeats", ""),
    )
    ticked = {BenchItem("models", name) for name in models} | {BenchItem("devices", d) for d in gpus_of(state)}
    synthetic = frozenset(name for name, model in state.models.items() if model.synthetic)
    return BenchPlan(items, frozenset({*ticked, BenchItem("from", "ram")} & set(items)), synthetic)


def choice_rows(choice: BenchPlan, paper: Paper) -> dict[BenchItem, Line]:
    """A row for each item, its group named at the group's first."""
    rows: dict[BenchItem, Line] = {}
    group = ""
    for item in choice.items:
        label = item.group if item.group != group else ""
        group = item.group
        words = _words(choice, item, paper.glyphs)
        rows[item] = (
            Span(f" {left(label, _LABEL)}", "dim"),
            Span(cut(words, paper.width - _LABEL - 1, paper.glyphs.ellipsis)),
        )
    return rows


def told_line(choice: BenchPlan) -> Line:
    """What the ticks amount to, or what is missing."""
    if choice.missing:
        return (Span(choice.missing, "warn"),)
    series = len(choice.what.subjects)
    each = f"{choice.repeats} times, and {WARM_UP} to warm up"
    return (Span(f"{series} series, each {each}", "strong"),)


def _words(choice: BenchPlan, item: BenchItem, glyphs: Glyphs) -> str:
    if item.group == "repeats":
        return f"{choice.repeats:<4} left and right change it"
    tick = "[x]" if item in choice.ticked else "[ ]"
    name = glyphs.text(item.name)
    if item.group == "models" and item.name in choice.synthetic:
        name = f"{glyphs.synthetic}{name}"
    why = next((f"  {text}" for tier, text in _TIERS.items() if item == BenchItem("from", tier)), "")
    return f"{tick} {name:<10}{why}" if why else f"{tick} {name}"


# ── what is measured ──────────────────────────────────────────────────────────────────────────────


def progress_lines(now: Progress | None, done: int, of: int, paper: Paper) -> tuple[Line, ...]:
    """Which repeat is under way, and how the times so far spread."""
    if now is None:
        return ((Span("about to begin", "dim"),),)
    name = paper.text(subject_name(now.subject))
    series = Span(f"series {done + 1} of {of}: ", "dim")
    head = ((series, Span(name, "strong")), (Span(f"repeat {now.turn}" if now.seconds else now.turn),))
    return (*head, *_shape(now.seconds, paper))


def _shape(seconds: Sequence[float], paper: Paper) -> tuple[Line, ...]:
    """Always as many lines, so that what stands below does not move."""
    if len(seconds) < _ENOUGH_FOR_A_SHAPE:
        return ((),) * (_ROWS + 1)
    steps = min(_STEPS, paper.width)
    shape = histogram(seconds, steps)
    bars = graph(shape.counts, max(shape.counts), Paper(steps, paper.glyphs), _ROWS)
    low, high = ms_text(shape.low), f"{ms_text(shape.high)} ms"
    scale = f"{low}{right(high, max(steps - len(low), len(high) + 1))}"
    return (*((Span(bar, "graph"),) for bar in bars), (Span(scale, "dim"),))


def result_lines(results: Sequence[Series | Omission], paper: Paper) -> tuple[Line, ...]:
    """A row for each series that has figures, in ms, then what has none and why."""
    found = [result for result in results if isinstance(result, Series)]
    names = _names((series.subject for series in found), paper)
    left_out = (f"{result_name(result)}: {result.reason}" for result in results if isinstance(result, Omission))
    return (
        *((_heads(names, paper.width), *(_row(series, names, paper) for series in found)) if found else ()),
        *section("Not measured", sentences(left_out, paper, "warn")),
    )


def _heads(names: int, width: int) -> Line:
    wide = (right("MAX", _NUMBER), right("EFF", 5)) if width >= _WIDE else ()
    figures = (
        right("N", _COUNT),
        right("P50", _NUMBER),
        right("P95", _NUMBER),
        *wide,
        right(f"<{SWITCH_TARGET_S:g} s", 6),
    )
    return (Span(left("SERIES, ms", names) + "".join(figures), "head"),)


def _row(series: Series, names: int, paper: Paper) -> Line:
    whole = spread(series.seconds)
    times = [whole.p50, whole.p95, *([whole.largest] if paper.width >= _WIDE else [])]
    efficiency = right(efficiency_text(series), 5) if paper.width >= _WIDE else ""
    kept = whole.largest < SWITCH_TARGET_S
    mark = paper.glyphs.synthetic if series.synthetic else ""
    return (
        Span(
            left(mark + _name(series.subject, names - len(mark), paper.glyphs), names, paper.glyphs.ellipsis), "strong"
        ),
        Span(
            right(str(whole.count), _COUNT)
            + "".join(right(ms_text(seconds), _NUMBER) for seconds in times)
            + efficiency
        ),
        Span(right("yes" if kept else "NO", 6), "good" if kept else "bad"),
    )


# ── two runs side by side ─────────────────────────────────────────────────────────────────────────


def run_title(run: BenchResult) -> str:
    """What a saved run holds, in a phrase."""
    models = dict.fromkeys(series.subject.model for series in run.series)
    return f"{len(run.series)} series: {', '.join(models)}"


def compared_lines(compared: Compared, paper: Paper) -> tuple[Line, ...]:
    """Medians before and after, and what differs between the runs; the figures of `citadel bench compare`."""
    names = _names((c.subject for c in compared.comparisons), paper)
    heads = [Span(right(head, _NUMBER), "head") for head in ("BEFORE", "AFTER", "CHANGE")]
    rows = [line for c in compared.comparisons for line in _compared(c, names, paper)]
    nothing = sentences(("the two runs have no model, device and tier in common",), paper, "warn")
    known = (
        *(f"not the same in both: {difference}" for difference in compared.differences),
        *(f"only before: {result_name(series)}" for series in compared.only_before),
        *(f"only after: {result_name(series)}" for series in compared.only_after),
        f"medians of whole switches in ms; slower: by more than {THRESHOLD:.0%}, and more than chance",
    )
    table = ((Span(left("SERIES", names), "head"), *heads), *rows) if rows else nothing
    return (*table, *section("To know", sentences(known, paper)))


def _compared(comparison: BenchComparison, names: int, paper: Paper) -> tuple[Line, ...]:
    change = comparison.change
    role: Role = "bad" if change.is_worse_than(THRESHOLD) else "good"
    verdict = "SLOWER" if change.is_worse_than(THRESHOLD) else "ok"
    between = f"{verdict}, 95 % between {change.low:+.1%} and {change.high:+.1%}"
    figures = (ms_text(comparison.before_s), ms_text(comparison.after_s), f"{change.share:+.1%}")
    row = (
        Span(left(_name(comparison.subject, names, paper.glyphs), names, paper.glyphs.ellipsis), "strong"),
        Span("".join(right(figure, _NUMBER) for figure in figures)),
    )
    told = Span(f"  {between}", role)
    if names + 3 * _NUMBER + len(told.text) <= paper.width:
        return ((*row, told),)
    return (row, (told,))


def _names(subjects: Iterable[BenchSubject], paper: Paper) -> int:
    """Cells for what is measured, as far as the figures leave room for it."""
    longest = max((len(_name(subject, _MOST_NAME, paper.glyphs)) for subject in subjects), default=0)
    figures = _COUNT + 3 * _NUMBER + (11 if paper.width >= _WIDE else 0)
    return max(min(longest + 1, _MOST_NAME, paper.width - figures), 8)


def _name(subject: BenchSubject, cells: int, glyphs: Glyphs) -> str:
    """Of what is too long the model is cut: its other series have the same name."""
    where = f" {subject.device} {glyphs.text(start_text(subject))}"
    return cut_middle(glyphs.text(subject.model), max(cells - len(where), 3), glyphs.ellipsis) + where
