"""The report as text for people: the engine in a line, then a table of devices and one of models."""

from __future__ import annotations

from citadel_tui.cli.device_table import device_table
from citadel_tui.cli.status_report import JobReport, ModelReport, RamReport, Report
from citadel_tui.cli.output import table
from citadel_tui.text import clean
from citadel_tui.words.bench import quiet_text
from citadel_tui.words.figures import age_text, mib_text
from citadel_tui.words.labels import model_label
from engine.core.commands import command_text
from engine.core.sizes import format_size


def status_table(shown: Report, *, bars: bool) -> str:
    parts = [_head(shown), device_table(shown.devices, shown.at_s, bars=bars), _models(shown)]
    parts += [_job(job) for job in shown.jobs]
    return "\n\n".join(parts)


def _head(shown: Report) -> str:
    engine, ram = shown.engine, shown.ram
    lines = [
        f"engine {clean(engine.version)} on {clean(engine.host)}, process {engine.pid}, "
        f"up {age_text(shown.at_s - engine.started_at_s)}"
    ]
    if engine.banner:
        lines.append(clean(engine.banner))
    if shown.quiet_sample_s is not None:
        lines.append(quiet_text(shown.quiet_sample_s))
    kept = f"{len(ram.kept)} of {ram.max_models} models kept"
    lines.append(f"RAM tier: {format_size(ram.used_bytes)} of {format_size(ram.budget_bytes)}, {kept}")
    return "\n".join(lines)


def _models(shown: Report) -> str:
    headings = ["MODEL", "WHERE", "STATE", "MiB", "PIN", "LEASES", "REQUESTS", "REQ/MIN"]
    text = table(
        headings,
        [_model_cells(model, shown.ram) for model in shown.models],
        right=("MiB", "LEASES", "REQUESTS", "REQ/MIN"),
    )
    troubled = [f"{clean(model.name)}: {clean(model.trouble)}" for model in shown.models if model.trouble]
    return "\n".join([text, *troubled])


def _model_cells(model: ModelReport, ram: RamReport) -> list[str]:
    states = [
        place.stage if place.progress is None else f"{place.stage} {100 * place.progress:.0f} %"
        for place in model.places
    ]
    return [
        model_label(model.name, synthetic=model.synthetic),
        ", ".join(place.device for place in model.places) or ("ram" if model.name in ram.kept else "disk"),
        ", ".join(states) or "resting",
        mib_text(model.weights_bytes + model.workspace_bytes),
        "-" if model.pin is None else model.pin.device or "yes",
        str(sum(place.leases for place in model.places)),
        str(model.requests),
        f"{model.requests_per_minute:.1f}",
    ]


def _job(job: JobReport) -> str:
    waiting = f", waiting for {clean(job.waiting_for)}" if job.waiting_for else ""
    verb = clean(command_text(job.command))
    return f"under way: {verb}, {job.phase} {job.elapsed_s:.1f} s{waiting}"
