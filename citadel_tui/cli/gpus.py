"""`citadel gpus`: what each GPU of this machine can do, measured or as its driver tells it. Needs no engine, and starts none."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from citadel_tui.cli.engine import attached, our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.status_report import STATUS_VERSION, DeviceStatus, device_statuses
from citadel_tui.text import clean
from citadel_tui.words.figures import moment_text
from engine.api import EngineError
from engine.core.serialization import to_json
from engine.core.sizes import format_room
from engine.doctor.gpus import CardRates, CardReport, GpusReport, VirtualReport
from engine.doctor.machine import PcieLink


class GpusArguments(Arguments, frozen=True, kw_only=True):
    json: bool
    measure: bool
    forget: Sequence[str]
    """Cards, by name or UUID."""


def add_arguments(command: CommandParser) -> None:
    command.add_argument("--json", action="store_true", help="all of it, in bytes")
    command.add_argument(
        "--measure", action="store_true", help="time copies to and from each card, and keep the figures"
    )
    command.add_argument(
        "--forget",
        nargs="+",
        default=[],
        metavar="GPU",
        help="take the name from a card that is gone for good (gpu2, or its UUID), so that the next new one gets it",
    )
    command.carried_out_by(run, GpusArguments)


def run(arguments: GpusArguments) -> int:
    if arguments.is_elsewhere:
        return asyncio.run(_show_elsewhere(arguments))
    if arguments.forget:
        return _forget(arguments)
    report = asyncio.run(_report(arguments))
    if arguments.json:
        print(to_json(report).decode())
    else:
        print(gpus_text(report))
        if report.config_trouble:
            tell(f"virtual GPUs are not listed: {report.config_trouble}")
        if report.names_trouble:
            tell(f"which card had which name is not known: {report.names_trouble}; these names are new")
    return Exit.DONE if _is_well(report) else Exit.FAILED


def _is_well(report: GpusReport) -> bool:
    """Whether every card that is known, or that the driver counts, answers; or none is missed."""
    if not report.cards:
        return report.expects_no_card and not report.config_trouble
    return not report.silent_cards and all(card.health == "ok" for card in report.cards)


def _forget(arguments: GpusArguments) -> Exit:
    from engine.doctor.gpus import forget_cards

    for card in asyncio.run(forget_cards(arguments.forget, our_paths())):
        again = "; it is here, and gets a name again when an engine starts" if card.was_here else ""
        print(f"{card.device} is forgotten: {clean(card.name)} ({clean(card.uuid)}){again}")
    print("an engine that runs has the names that it started with; the next one has these")
    return Exit.DONE


async def _report(arguments: GpusArguments) -> GpusReport:
    from engine.doctor.gpus import list_gpus

    with progress() as show:
        show("copying to the cards and back …" if arguments.measure else "asking the driver …")
        where = (arguments.config, os.environ, Path.cwd(), our_paths())
        return await list_gpus(*where, measure_at_s=time.time() if arguments.measure else None)


async def _show_elsewhere(arguments: GpusArguments) -> Exit:
    """What engines elsewhere tell of their GPUs; only on the spot can a driver be asked."""
    if arguments.forget or arguments.measure:
        raise EngineError("cards are measured and forgotten on their own machine: run `citadel gpus` there")
    async with attached(arguments) as engine:
        snapshot = await engine.snapshot()
    gpus = [gpu for gpu in device_statuses(snapshot) if snapshot.state.devices[gpu.id].spec.kind == "gpu"]
    if arguments.json:
        print(to_json({"version": STATUS_VERSION, "at_s": snapshot.at_s, "gpus": gpus}).decode())
    else:
        print("\n\n".join(_told_of(gpu) for gpu in gpus) or "no engine there has a GPU")
    return Exit.DONE if all(gpu.health == "ok" for gpu in gpus) else Exit.FAILED


def _told_of(gpu: DeviceStatus) -> str:
    copies = gpu.copy_bytes_per_s
    facts = {
        "health": gpu.health + (f": {clean(gpu.reason)}" if gpu.reason else ""),
        "uuid": clean(gpu.uuid or ""),
        "PCI bus": clean(gpu.bus_id or ""),
        "memory": format_room(gpu.total_bytes),
        "driver": clean(gpu.driver),
        "copying": "" if copies is None else f"{_gbps(copies)} to it, the fastest that a load has seen",
    }
    return "\n".join(
        [f"{gpu.id}  {clean(gpu.title)}", *(f"  {key:<12}{value}" for key, value in facts.items() if value)]
    )


def gpus_text(report: GpusReport) -> str:
    """A paragraph for each card, then a line for each virtual GPU."""
    parts = [_card(card) for card in report.cards]
    if not report.cards and report.expects_no_card:
        parts.append(
            "no NVIDIA card is here; models run on " + ("virtual GPUs and the CPU" if report.virtual else "the CPU")
        )
    elif not report.cards:
        parts.append(f"no NVIDIA card can be used: {clean(report.driver)}; `citadel doctor` tells what to do")
    parts += [f"{clean(silent)}; it was never seen before and has no name" for silent in report.silent_cards]
    if report.hidden_cards:
        is_mig = any(card.uuid.startswith("MIG-") for card in report.cards)
        why = "CUDA shows one MIG device alone" if is_mig else "hidden by CUDA_VISIBLE_DEVICES"
        parts.append(f"{why}: {report.hidden_cards} more")
    if report.virtual:
        parts.append("\n".join(_virtual(gpu) for gpu in report.virtual))
    return "\n\n".join(parts)


def _card(card: CardReport) -> str:
    total = "unknown" if card.total_bytes is None else format_room(card.total_bytes)
    lines = {
        "health": _health(card),
        "uuid": clean(card.uuid),
        "PCI bus": clean(card.bus_id or "unknown"),
        "memory": total,
        "capability": card.capability or "unknown",
        "fast in": ", ".join(card.fast_dtypes) or "unknown",
        "PCIe": _pcie(card.pcie, is_here=card.health == "ok"),
        **_copying(card.copying),
    }
    return "\n".join([f"{card.device}  {clean(card.name)}", *(f"  {key:<12}{value}" for key, value in lines.items())])


def _health(card: CardReport) -> str:
    if card.health == "ok":
        return "ok"
    since = f" since {moment_text(card.lost_since_s, time.time())}" if card.lost_since_s is not None else ""
    return f"{card.health}{since}: {clean(card.reason)}"


def _pcie(link: PcieLink, *, is_here: bool) -> str:
    """Of a card that does not answer, what it can do alone."""
    now = f"generation {_known(link.generation)} ×{_known(link.lanes)} now, " if is_here else ""
    return f"{now}generation {_known(link.newest_generation)} ×{_known(link.most_lanes)} at most"


def _known(figure: int | None) -> str:
    return "?" if figure is None else str(figure)


def _copying(copying: CardRates) -> dict[str, str]:
    """Both ways, from page-locked memory and from any other."""
    rates = copying.rates
    if rates is None:
        return {"copying": f"{clean(copying.trouble)}; `citadel gpus --measure` measures it"}
    return {
        "to it": f"{_gbps(rates.to_card_pinned)} page-locked, {_gbps(rates.to_card_pageable)} pageable",
        "from it": f"{_gbps(rates.from_card_pinned)} page-locked, {_gbps(rates.from_card_pageable)} pageable",
    }


def _gbps(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e9:.1f} GB/s"


def _virtual(gpu: VirtualReport) -> str:
    where = "host RAM" if gpu.backing == "ram" else gpu.backing
    return f"{gpu.device}  virtual GPU: {format_room(gpu.total_bytes)} of {where}"
