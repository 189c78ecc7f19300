"""The section of a model's page that says which decisions brought it to where it is."""

from __future__ import annotations

from collections.abc import Iterator

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.prose import section
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span, wrapped
from citadel_tui.words.labels import labels
from citadel_tui.words.why_text import decisions
from engine.core.names import ModelName
from engine.core.insight.why import explain


def why_lines(scene: Scene, model: ModelName, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """What `citadel why` says of the past, as far as the console's records reach; nothing when none touched the model."""
    if scene.snapshot is None:
        return ()
    state = scene.snapshot.state
    explained = explain(state, scene.records, model)
    if explained.last is None:
        return ()
    paragraphs = decisions(explained, labels(state))
    return section("Why", (line for text in paragraphs for line in _lines(text, width, glyphs)))


def _lines(paragraph: str, width: int, glyphs: Glyphs) -> Iterator[Line]:
    """The paragraph's lines, wrapped behind their own indentation."""
    for text in paragraph.splitlines():
        margin = " " * (1 + len(text) - len(text.lstrip()))
        for piece in wrapped(glyphs.text(text), max(width - len(margin), 1)):
            yield (Span(margin + piece),)
