"""Whose life it is that is told of: an engine's own, or, in a fleet, those of its boxes' engines, which go on when the service
that speaks for them ends."""

from __future__ import annotations

from engine.api import Hello


def since_s(hello: Hello) -> float:
    """Since when what is told may still be so: what was told before, an engine that has ended had told."""
    return hello.started_at_s if hello.boxes_since_s is None else hello.boxes_since_s


def follows(hello: Hello, before: Hello) -> bool:
    """Whether who answers now knows all that the one before did: it is the same, or a fleet's service after another."""
    if hello.boxes_since_s is not None and before.boxes_since_s is not None:
        return True
    return (hello.host, hello.pid, hello.started_at_s) == (before.host, before.pid, before.started_at_s)
