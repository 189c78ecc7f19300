"""`citadel replay`: what each policy would have done with a recorded demand. Needs no engine, and starts none."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from citadel_tui.cli.exits import Exit
from citadel_tui.cli.streams import table
from engine.api import EngineError
from engine.replay.box import Box
from engine.replay.comparison import EVICTIONS, Comparison, compare
from engine.replay.sizes import GB, cycled_sizes, read_sizes
from engine.replay.trace import TraceError, read_trace
from engine.replay.untimed import Outcome

_Read = TypeVar("_Read")


def run(arguments: Namespace) -> int:
    requests = _read(arguments.trace, read_trace)
    models = {request.model for request in requests}
    given = {"gpus_bytes": arguments.gpus, "ram_bytes": arguments.ram}
    box = replace(Box(), **{name: value for name, value in given.items() if value is not None})
    if arguments.sizes == "cycle":
        sizes = cycled_sizes(models)
    else:
        sizes = _read(Path(arguments.sizes), lambda lines: read_sizes(lines, models))
    evictions = EVICTIONS if arguments.policy == "all" else (arguments.policy,)
    try:
        compared = compare(requests, box, sizes, evictions)
    except TraceError as error:
        raise EngineError(f"{arguments.trace} can't be replayed on this box: {error}") from None
    print(msgspec.json.encode(compared).decode() if arguments.json else replay_text(compared))
    return Exit.DONE


def _read(path: Path, read: Callable[[Iterable[str]], _Read]) -> _Read:
    try:
        with path.open(encoding="utf-8") as file:
            return read(file)
    except OSError as error:
        raise EngineError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise EngineError(f"{path} is not text in UTF-8") from None
    except TraceError as error:
        raise EngineError(f"{path}, {error}; nothing was replayed") from None


def replay_text(compared: Comparison) -> str:
    """The box in two lines, then a row for each policy and one for the clairvoyant reference."""
    headings = [
        "POLICY",
        "SWITCH s",
        "REGRET",
        "HITS",
        "LOADS",
        "FROM DISK",
        "TO GPU GB",
        "DISK GB",
        "BACK GB",
        "FILLED",
    ]
    outcomes = [*compared.policies.items(), ("clairvoyant*", compared.clairvoyant)]
    rows = [_cells(name, outcome, compared.regret(outcome)) for name, outcome in outcomes]
    note = "* knows the future: a bound to measure against, not a policy. REGRET: switch seconds beyond it."
    return "\n\n".join([_box(compared), table(headings, rows, right=tuple(headings[1:])), note])


def _box(compared: Comparison) -> str:
    box = compared.box
    cards = " + ".join(f"{size_bytes / GB:.2f}" for size_bytes in box.gpus_bytes)
    served = compared.clairvoyant.requests
    return (
        f"{compared.requests} requests for {len(compared.sizes)} models of {sum(compared.sizes.values()) / GB:.1f} GB, "
        f"{served} when repeats count once; untimed, in order\n"
        f"GPUs {cards} GB, RAM tier {box.ram_bytes / GB:.2f} GB (exclusive), "
        f"copies {box.copy_bytes_per_s / GB:g} GB/s, disk {box.disk_bytes_per_s / GB:g} GB/s"
    )


def _cells(name: str, outcome: Outcome, regret: float) -> list[str]:
    return [
        name,
        f"{outcome.switch_s:.1f}",
        f"{100 * regret:.0f} %",
        f"{100 * outcome.hit_ratio:.1f} %",
        str(outcome.loads),
        str(outcome.disk_loads),
        f"{outcome.to_gpu_bytes / GB:.1f}",
        f"{outcome.from_disk_bytes / GB:.1f}",
        f"{outcome.to_ram_bytes / GB:.1f}",
        "-" if outcome.utilization is None else f"{100 * outcome.utilization:.1f} %",
    ]
