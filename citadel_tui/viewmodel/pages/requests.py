"""The requests under way as rows, like `top`'s: who asks, for which model, where it is, since when, how far it has come."""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace
from rich.cells import cell_len

from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.place_names import place_text
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span, cut_middle, left, named, right
from citadel_tui.words.figures import age_text
from citadel_tui.words.requests import so_far_text, under_way_text, where_text
from engine.core.insight.request_figures import RequestsUnderWay, RequestUnderWay

_WHERE: Final = 7
_WHERE_MOST: Final = 14
_AGE: Final = 5
_LEAST_NAME: Final = 8
_SO_FAR: Final = "SO FAR"
_MARK: Final = 2


class _Columns(NamedTuple):
    """Cells of the columns that are as wide as they need to be, or as there is room."""

    number: int
    who: int
    model: int
    so_far: int
    where: int


def request_lines(
    listed: RequestsUnderWay | None, why_old: str, scene: Scene, paper: Paper
) -> tuple[tuple[Line, ...], dict[int, Line]]:
    """How many there are and the columns' titles; and a row for each, by its number. `why_old`: why that is no longer so, if it
    isn't."""
    if listed is None:
        return (
            paper.filled((Span(f" {paper.text(why_old) or 'asking the engine'}", "warn" if why_old else "dim"),)),
        ), {}
    told = Span(f" {paper.text(why_old)}", "warn") if why_old else Span(f" {under_way_text(listed)}", "dim")
    columns = _columns(listed, paper.width)
    titles = f"{right('N', columns.number)} {left('WHO', columns.who)} {left('MODEL', columns.model)}"
    titles += f" {left('WHERE', columns.where)} {right('AGE', _AGE)}  {_SO_FAR}"
    rows = {request.number: paper.filled(_row(request, columns, scene, paper)) for request in listed.requests}
    return (paper.filled((told,)), paper.filled((Span(titles, "head"),))), rows


def _columns(listed: RequestsUnderWay, width: int) -> _Columns:
    """A figure that grows moves nothing: a text's column has room for all of its tokens."""
    number = 2 + max((len(str(request.number)) for request in listed.requests), default=1)
    so_far = max(len(text) for text in (_SO_FAR, *(so_far_text(replace(r, parts=r.work)) for r in listed.requests)))
    longest = max((len(where_text(request)) for request in listed.requests), default=0)
    where = min(max(longest, _WHERE), _WHERE_MOST)
    room = max(width - number - where - _AGE - so_far - 6, 2 * _LEAST_NAME)
    # Half each; who asks gets what the models' names leave, where that says all of it.
    models = max((len(request.model) + _MARK for request in listed.requests), default=room)
    asking = max((cell_len(request.asker.text) for request in listed.requests), default=0)
    model = min(room // 2, max(models, room - asking))
    return _Columns(number, room - model, model, so_far, where)


def _row(request: RequestUnderWay, columns: _Columns, scene: Scene, paper: Paper) -> Line:
    ellipsis = paper.glyphs.ellipsis
    mark = f" {paper.glyphs.synthetic}" if _is_synthetic(request, scene) else ""
    name = cut_middle(paper.text(request.model), columns.model - cell_len(mark), ellipsis)
    who = named(paper.text(request.asker.text), columns.who, ellipsis)
    where = left(place_text(where_text(request), columns.where, ellipsis), columns.where)
    facts = f"{where} {right(age_text(request.age_s), _AGE)}  {so_far_text(request)}"
    return (
        Span(f"{right(str(request.number), columns.number)} "),
        Span(f"{who} ", "strong"),
        Span(name, "strong"),
        Span(left(mark, columns.model - cell_len(name)) + " ", "warn"),
        Span(facts, "warn" if request.device is None else "text"),
    )


def _is_synthetic(request: RequestUnderWay, scene: Scene) -> bool:
    model = scene.snapshot.state.models.get(request.model) if scene.snapshot else None
    return model is not None and model.synthetic
