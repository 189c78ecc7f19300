"""The top row: who, where, how the line to the engine is, the time; below it what must be said of this engine."""

from __future__ import annotations

from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span, filled
from citadel_tui.viewmodel.dashboard.strips import header_line
from citadel_tui.widgets.scene_view import SceneView


class HeaderLine(SceneView):
    """One row, or two when the engine has a banner. Never greyed: it says that the rest is old."""

    fades = False

    def lines_for(self, scene: Scene, width: int) -> tuple[Line, ...]:
        header = header_line(scene, width, self.glyphs)
        banner = scene.hello.banner if scene.hello else ""
        if not banner:
            return (header,)
        return (header, filled((Span(f" {self.glyphs.text(banner)}", "banner"),), width, self.glyphs.ellipsis))
