"""The Grafana board and the alert rules ask for figures that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from msgspec.structs import replace

from engine.core.boxes import BoxView
from engine.core.insight.request_figures import RequestFigures
from engine.gateway.metrics import Metrics
from tests.scripted_engine import ScriptedEngine

FOLDER = Path("docs/prometheus")
FIGURE = re.compile(r"\bcitadel_\w+")


async def figures_that_there_are() -> set[str]:
    """Of an engine, and of a fleet."""
    engine = ScriptedEngine()
    engine.set_requests({"all-MiniLM-L6-v2": RequestFigures(p50_s=0.1)})
    hello, alone = await engine.hello(), await engine.snapshot()
    among_boxes = replace(alone, boxes={"box1": BoxView("ready", heard_s=1.0)})
    text = "".join(Metrics().text(hello, snapshot).decode() for snapshot in (alone, among_boxes))
    families = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
    histograms = {
        f"{name}_{part}" for name, kind in families if kind == "histogram" for part in ("bucket", "count", "sum")
    }
    return {name for name, _ in families} | histograms


async def test_every_panel_shows_a_figure_that_there_is() -> None:
    board = json.loads((FOLDER / "grafana.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked = {name for expression in expressions for name in FIGURE.findall(expression)}
    assert len(expressions) >= 10
    assert asked <= await figures_that_there_are()


async def test_every_rule_asks_for_a_figure_that_there_is() -> None:
    rules = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    asked = {name for rule in rules for name in FIGURE.findall(rule["expr"])}
    assert asked
    assert asked <= await figures_that_there_are()
