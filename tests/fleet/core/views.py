"""Views for tests: a few open boxes that all have the same catalog."""

from __future__ import annotations

from fleet.core.view import NO_RULES, Copy, FleetView, Member, Rules

GIB = 1 << 30
MODELS = frozenset(f"m{n}" for n in range(50))


def view_of(*boxes: str, rules: Rules = NO_RULES) -> FleetView:
    view = FleetView(rules)
    view.join({box: Member(8 * GIB, MODELS) for box in boxes})
    return view


def copy(model: str, device: str = "gpu0", wait_s: float = 0.0, loading_s: float = 0.0) -> Copy:
    """Of a model whose requests take 0.1 s and whose load takes 0.5 s: behind from 0.8 s on."""
    return Copy(model, device, wait_s, 0.1, 0.5, loading_s)
