"""A model of the catalog in words: what it is, where it comes from, what it needs, and how it may be called."""

from __future__ import annotations

from collections.abc import Iterator

from citadel_tui.words.figures import mib_text, seconds_text
from citadel_tui.words.labels import model_label
from engine.core.names import ModelName
from engine.core.sizes import mib_range
from engine.core.state import ModelState, State


def added_lines(known: ModelState) -> Iterator[str]:
    """What is said of a model that was added just now."""
    spec = known.spec
    yield f"{spec.name}: {spec.task}, {spec.dtype}, texts of up to {spec.limits.max_sequence} tokens; {_needs(known)}"
    yield f"taken from {known.source}" + (
        "" if known.prepared else f"; `citadel prepare {spec.name}` makes its first load fast"
    )


def info_lines(state: State, name: ModelName) -> Iterator[str]:
    """All that is known of a model, a line each."""
    known = state.models[name]
    spec = known.spec
    yield model_label(name, synthetic=known.synthetic)
    yield f"  called    {', '.join(spec.aliases) or 'by its name alone'}"
    yield f"  task      {spec.task}"
    yield f"  dtype     {spec.dtype}"
    if not known.trouble:
        cut = ", longer ones are cut" if spec.limits.truncate else ""
        yield f"  limits    {spec.limits.max_batch} texts at once, of up to {spec.limits.max_sequence} tokens{cut}"
        yield f"  needs     {_needs(known)}"
        if known.footprint.run_bytes:
            yield f"  runs      took {mib_range(*known.footprint.run_bytes)} with the weights"
    yield f"  source    {known.source or ', '.join(spec.sources)}" + (f" at {spec.revision}" if spec.revision else "")
    yield f"  prepared  {'yes' if known.prepared else f'no; `citadel prepare {name}` does it'}"
    yield f"  on        {', '.join(f'{r.device} ({r.stage})' for r in state.of(name)) or 'no device'}"
    if known.pin is not None:
        yield f"  pinned    {known.pin.device or 'wherever it is'}"
    if known.keep_alive_s is not None:
        yield f"  leaves    after {seconds_text(known.keep_alive_s)} idle"
    for word, text in (("trouble", known.trouble), ("remark", known.remark)):
        if text:
            yield f"  {word:<9} {text}"


def _needs(known: ModelState) -> str:
    footprint = known.footprint
    weights, workspace = mib_text(footprint.weights_bytes), mib_text(footprint.workspace_bytes)
    return f"{weights} MiB of weights and {workspace} MiB to run ({footprint.label})"
