"""Demand as the file of a trace."""

from __future__ import annotations

from engine.recording.trace import TraceRequest


def trace_text(requests: tuple[TraceRequest, ...]) -> str:
    rows = [f"{request.at_s:.3f},{request.model},{request.work:g}" for request in requests]
    return "\n".join(["t_s,model,work", *rows, ""])
