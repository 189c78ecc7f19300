"""`citadel status`: devices and models as a table for people, or as JSON or CSV for programs; once or again and again."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterator
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from citadel_tui.cli.csv_rows import write_device_rows, write_model_rows
from citadel_tui.cli.engine import attached
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.fitting import Block, Size, TableColumn, joined, size_of, table_block, text_block
from citadel_tui.cli.output import can_draw
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.status_report import (
    STATUS_VERSION,
    DeviceStatus,
    JobStatus,
    ModelStatus,
    ResidentStatus,
    StatusReport,
    Unavailable,
    status_report,
)
from citadel_tui.cli.values import seconds
from citadel_tui.text import clean
from citadel_tui.words.alerts import KEPT_RECORDS, Alert, alert_text, silence_text
from citadel_tui.words.boxes import UNHEARD, banners_of, fleet_text, standing_words
from citadel_tui.words.figures import (
    age_text,
    ago_text,
    idle_text,
    mib_text,
    moment_text,
    percent,
    percent_text,
    room_text,
)
from citadel_tui.words.health import quiet_text
from citadel_tui.words.labels import model_label
from citadel_tui.words.requests import OF_THE_TIMES, latency_text, rate_text
from citadel_tui.words.setup import defaults_text, no_models_text
from engine.api import EngineAPI, EngineUnreachable
from engine.core.boxes import is_heard
from engine.core.commands import command_text
from engine.core.devices import STALE_S, Neighbour
from engine.core.insight.request_figures import RequestFigures
from engine.core.names import within_box
from engine.core.serialization import to_json
from engine.core.sizes import format_room, format_size
from engine.core.tasks import unit_of_work

_REDRAW: Final = "\x1b[H\x1b[J"
_LOOK_S: Final = 1.0
"""Between two looks at whether the engine has answered."""


class StatusArguments(Arguments, frozen=True, kw_only=True):
    form: Literal["json", "plain"] | None
    csv: Literal["devices", "models"] | None
    watch: float | None
    """Seconds until it is shown again."""


def add_arguments(command: CommandParser) -> None:
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", dest="form", const="json", help="all of it, in bytes")
    form.add_argument("--csv", nargs="?", dest="csv", const="devices", choices=("devices", "models"), help="one table")
    form.add_argument("--plain", action="store_const", dest="form", const="plain", help="ASCII, no bars")
    command.add_argument("--watch", nargs="?", type=seconds, const=2.0, metavar="S", help="again every S seconds")
    command.carried_out_by(run, StatusArguments)


def run(arguments: StatusArguments) -> int:
    return asyncio.run(_status(arguments))


async def _status(arguments: StatusArguments) -> Exit:
    try:
        async with attached(arguments) as engine:
            report = await _report(engine)
            print(_rendered(report, arguments), flush=True)
            while arguments.watch is not None:
                await asyncio.sleep(arguments.watch)
                report = await _next_report(engine, report, arguments)
                _redraw(_rendered(report, arguments))
    except EngineUnreachable as error:
        if arguments.form != "json":
            raise
        print(to_json(Unavailable(STATUS_VERSION, str(error))).decode())
        return Exit.NO_ENGINE
    return Exit.DONE


async def _report(engine: EngineAPI) -> StatusReport:
    return status_report(await engine.hello(), await engine.snapshot(), await engine.records(KEPT_RECORDS))


async def _next_report(engine: EngineAPI, shown: StatusReport, arguments: StatusArguments) -> StatusReport:
    """The next one; while it does not come, people see the one that is `shown` with its age."""
    asked = asyncio.ensure_future(_report(engine))
    is_for_people = arguments.form != "json" and arguments.csv is None
    try:
        while not asked.done():
            await asyncio.wait([asked], timeout=_LOOK_S)
            if not asked.done() and engine.silent_s >= STALE_S and is_for_people:
                _redraw(_rendered(shown, arguments, silence_text(engine.silent_s)))
        return asked.result()
    finally:
        asked.cancel()


def _redraw(shown: str) -> None:
    print(f"{_REDRAW if sys.stdout.isatty() else ''}{shown}", flush=True)


def _rendered(shown: StatusReport, arguments: StatusArguments, silence: str = "") -> str:
    if arguments.form == "json":
        return to_json(shown).decode()
    if arguments.csv is not None:
        return _csv(shown, arguments.csv)
    size = size_of(sys.stdout)
    if arguments.watch is None:
        size = replace(size, height=None)  # what is printed once can be scrolled back
    return status_table(
        shown, size, silence, bars=arguments.form != "plain" and size.width is not None and can_draw(sys.stdout)
    )


def _csv(shown: StatusReport, subject: str) -> str:
    text = io.StringIO()
    if subject == "devices":
        write_device_rows(text, shown.at_s, shown.devices)
    else:
        write_model_rows(text, shown.models)
    return text.getvalue().rstrip()


_BAR_CELLS: Final = 24


class _DeviceColumn(Struct, frozen=True):
    column: TableColumn
    cell: Callable[[DeviceStatus], str]
    only_if: Callable[[DeviceStatus], object] = lambda _: True
    """The column is shown when this holds of a device."""


def _figure(heading: str, worth: int, cell: Callable[[DeviceStatus], str]) -> _DeviceColumn:
    return _DeviceColumn(TableColumn(heading, worth, right=True), cell)


def _size(heading: str, worth: int, size_bytes: Callable[[DeviceStatus], int | None]) -> _DeviceColumn:
    """A size that most devices have nothing of."""
    column = TableColumn(heading, worth, right=True)
    return _DeviceColumn(column, lambda d: mib_text(size_bytes(d)), size_bytes)


_BAR: Final = _DeviceColumn(TableColumn("", 1), lambda device: _bar(device))
_COLUMNS: Final = (
    _DeviceColumn(TableColumn("BOX"), lambda d: d.box, lambda d: d.box),
    _DeviceColumn(TableColumn("DEVICE"), lambda d: within_box(d.id)),
    _DeviceColumn(TableColumn("HEALTH"), lambda d: _health(d)),
    _figure("MODELS", 5, lambda d: mib_text(d.models_bytes)),
    _size("CONTEXT", 2, lambda d: d.context_bytes),
    _size("LEAKED", 10, lambda d: d.leaked_bytes),
    _size("EXTERNAL", 7, lambda d: d.external_bytes),
    _figure("USED", 11, lambda d: mib_text(d.used_bytes)),
    _figure("BUDGET", 12, lambda d: room_text(d.budget_bytes)),
    _BAR,
    _figure("TOTAL MiB", 6, lambda d: room_text(d.total_bytes)),
    _figure("OF BUDGET", 9, lambda d: percent_text(d.models_bytes + d.leaked_bytes, d.budget_bytes) or "-"),
    _figure("OF TOTAL", 4, lambda d: "-" if d.used_bytes is None else percent_text(d.used_bytes, d.total_bytes)),
    _DeviceColumn(
        TableColumn("TEMP", 3, right=True),
        lambda d: _or_dash(d.temperature_c, " C"),
        lambda d: d.temperature_c is not None,
    ),
    _DeviceColumn(
        TableColumn("BUSY", 8, right=True),
        lambda d: percent(d.utilization_percent),
        lambda d: d.utilization_percent is not None,
    ),
    _DeviceColumn(TableColumn("RESIDENTS", 1, is_name=True), lambda d: ", ".join(d.residents) or "-"),
)


def device_blocks(devices: list[DeviceStatus], at_s: float, size: Size, *, bars: bool) -> Iterator[Block]:
    """`at_s`: now, for the ages."""
    shown = [c for c in _COLUMNS if (bars or c is not _BAR) and any(c.only_if(device) for device in devices)]
    rows = [[column.cell(device) for column in shown] for device in devices]
    table = table_block([c.column for c in shown], rows, size, "devices")
    told = [_trouble(device, at_s) for device in devices if device.reason]
    told += [line for device in devices for line in _neighbours(device)]
    yield replace(table, lines=(*table.lines, *text_block("\n".join(told), size).lines))


def _or_dash(value: int | None, unit: str) -> str:
    return "-" if value is None else f"{value}{unit}"


def _bar(device: DeviceStatus) -> str:
    """Our models, what else is used, room in the budget, and what the budget leaves alone; nothing of a silent device."""
    if device.used_bytes is None:
        return ""
    used_bytes = max(device.used_bytes, device.models_bytes)
    sizes = (
        device.models_bytes,
        used_bytes,
        device.budget_bytes,
    )  # a total that has shrunk may be less than what is there
    ends = [min(_BAR_CELLS, _BAR_CELLS * size // device.total_bytes) for size in sizes]
    ours, used = ends[0], ends[1]
    budget = max(ends[2], used)
    return "█" * ours + "▒" * (used - ours) + "·" * (budget - used) + "┊" + " " * (_BAR_CELLS - budget)


def _health(device: DeviceStatus) -> str:
    """With the age of its figures, where it has some that are not those of now."""
    is_now = device.health in ("ok", "starting") or device.used_bytes is None or device.age_s is None
    return device.health if is_now else f"{device.health} {age_text(device.age_s or 0.0)}"


def _trouble(device: DeviceStatus, at_s: float) -> str:
    if not device.read_at_s or device.health == "ok":
        age = ""
    elif device.health == "lost":
        age = f" (lost since {moment_text(device.read_at_s, at_s)}, {ago_text(at_s - device.read_at_s)})"
    else:
        age = f" (last read {ago_text(device.age_s or 0.0)})"
    return f"{device.id}: {clean(device.reason)}{age}"


def _neighbours(device: DeviceStatus) -> Iterator[str]:
    for neighbour in device.neighbours:
        yield f"{device.id}: process {neighbour.pid} ({_name(neighbour)}) holds {_held(neighbour)}"


def _name(neighbour: Neighbour) -> str:
    return clean(neighbour.name) or "its name can't be seen"


def _held(neighbour: Neighbour) -> str:
    return "memory, nobody says how much" if neighbour.used_bytes is None else format_size(neighbour.used_bytes)


def status_table(shown: StatusReport, size: Size, silence: str = "", *, bars: bool) -> str:
    """All of it, within `size`; `silence` is said of it first."""
    alerts = "\n".join(map(_alert, shown.alerts))
    parts = [
        text_block(f"{silence}\n{_head(shown)}" if silence else _head(shown), size),
        *device_blocks(shown.devices, shown.at_s, size, bars=bars),
        *_models(shown, size),
        *_requests(shown, size),
        *(text_block(_job(job), size) for job in shown.jobs),
        *((text_block(alerts, size),) if alerts else ()),
    ]
    return joined(parts, size)


def _alert(alert: Alert) -> str:
    return f"{'over' if alert.until_s is not None else 'alert'}: {clean(alert_text(alert))}"


def _head(shown: StatusReport) -> str:
    engine, ram = shown.engine, shown.ram
    of_what = f"{fleet_text(shown.boxes)}, its service" if shown.boxes else "engine"
    lines = [
        f"{of_what} {clean(engine.version)} on {clean(engine.host)}, process {engine.pid}, "
        f"up {age_text(shown.at_s - engine.started_at_s)}"
    ]
    words = {name: standing_words(box, shown.at_s) for name, box in shown.boxes.items()}
    lines += [f"{name}: {told}" for name, told in words.items() if told]
    lines += map(clean, banners_of(engine, shown.boxes))
    if shown.quiet_sample_s is not None:
        lines.append(quiet_text(shown.quiet_sample_s))
    if on_defaults := defaults_text(engine.config):
        lines.append(on_defaults)
    kept = f"{len(ram.kept)} of {ram.max_models} models kept"
    lines.append(f"RAM tier: {format_size(ram.used_bytes)} of a budget of {format_room(ram.budget_bytes)}, {kept}")
    return "\n".join(lines)


_MODEL_COLUMNS: Final = (
    TableColumn("MODEL", is_name=True),
    TableColumn("WHERE"),
    TableColumn("STATE"),
    TableColumn("MiB", 4, right=True),
    TableColumn("PIN", 3),
    TableColumn("LEASES", 2, right=True),
    TableColumn("REQUESTS", 1, right=True),
    TableColumn("REQ/MIN", 5, right=True),
)


def _models(shown: StatusReport, size: Size) -> Iterator[Block]:
    if not shown.models:
        yield text_block(clean(no_models_text(shown.engine.config)), size)
        return
    rows = [_model_cells(model, shown) for model in shown.models]
    table = table_block(_MODEL_COLUMNS, rows, size, "models")
    troubled = "\n".join(f"{clean(model.name)}: {clean(model.trouble)}" for model in shown.models if model.trouble)
    yield replace(table, lines=(*table.lines, *text_block(troubled, size).lines))


def _model_cells(model: ModelStatus, shown: StatusReport) -> list[str]:
    states = [_state(place, shown.at_s) if is_heard(shown.boxes, place.device) else UNHEARD for place in model.places]
    return [
        model_label(model.name, synthetic=model.synthetic),
        ", ".join(place.device for place in model.places) or ("ram" if model.name in shown.ram.kept else "disk"),
        ", ".join(states) or "resting",
        mib_text(model.weights_bytes + model.workspace_bytes),
        "-" if model.pin is None else model.pin.device or "yes",
        str(sum(place.leases for place in model.places)),
        str(model.requests),
        f"{model.requests_per_minute:.1f}",
    ]


def _state(place: ResidentStatus, now_s: float) -> str:
    if place.progress is not None:
        return f"{place.stage} {100 * place.progress:.0f} %"
    return place.stage if place.leaves_at_s is None else f"{place.stage}, {idle_text(place.leaves_at_s - now_s)} left"


_REQUEST_COLUMNS: Final = (
    TableColumn("REQUESTS OF", is_name=True),
    TableColumn("IN FLIGHT", right=True),
    TableColumn("WAITING", right=True),
    TableColumn("PER S", 6, right=True),
    TableColumn("FIRST", 3, right=True),
    TableColumn("P50", 4, right=True),
    TableColumn("P95", 8, right=True),
    TableColumn("ANSWERED", 7, right=True),
    TableColumn("FAILED", 5, right=True),
    TableColumn("REFUSED", 2, right=True),
    TableColumn("LEFT", 1, right=True),
)


def _requests(shown: StatusReport, size: Size) -> Iterator[Block]:
    """How requests fare, for each model that was asked for; nothing when none was."""
    rows = [_request_cells(model, model.request_figures) for model in shown.models if model.request_figures]
    if rows:
        table = table_block(_REQUEST_COLUMNS, rows, size, "of their requests")
        yield replace(table, lines=(*table.lines, *text_block(OF_THE_TIMES, size).lines))


def _request_cells(model: ModelStatus, figures: RequestFigures) -> list[str]:
    rate = rate_text(figures.per_s)
    return [
        model_label(model.name, synthetic=model.synthetic),
        str(figures.in_flight),
        str(figures.waiting),
        f"{rate} {unit_of_work(model.task)}" if rate else "-",
        *(latency_text(seconds) for seconds in (figures.first_part_s, figures.p50_s, figures.p95_s)),
        *(str(count) for count in (figures.answered, figures.failed, figures.refused, figures.left)),
    ]


def _job(job: JobStatus) -> str:
    waiting = f", waiting for {clean(job.waiting_for)}" if job.waiting_for else ""
    verb = clean(command_text(job.command))
    return f"under way: {verb}, {job.phase} {job.elapsed_s:.1f} s{waiting}"
