"""All checks in the order in which they are best mended, and the answer: could a model run on a GPU here?

Kept apart: facts are judged without the driver, the disk and the other processes that `gather` reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from msgspec import Struct

from engine.doctor.checks.cards import check_card_memory, check_cards, check_config, check_cuda, check_visible
from engine.doctor.checks.driver import check_device_nodes, check_driver
from engine.doctor.checks.host import (
    check_container,
    check_disk,
    check_memory_limit,
    check_page_locking,
    check_shared_memory,
)
from engine.doctor.checks.software import check_python, check_torch
from engine.doctor.finding import Finding
from engine.doctor.machine import DoctorFacts

FINDINGS_VERSION: Final = 1

Check: TypeAlias = Callable[[DoctorFacts], Iterator[Finding]]

CHECKS: Final[tuple[Check, ...]] = (
    check_python,
    check_torch,
    check_driver,
    check_device_nodes,
    check_container,
    check_memory_limit,
    check_cuda,
    check_visible,
    check_cards,
    check_card_memory,
    check_config,
    check_page_locking,
    check_shared_memory,
    check_disk,
)


class Examination(Struct, frozen=True):
    """All findings, and the one answer that they add up to."""

    version: int
    can_run_on_gpu: bool
    is_well: bool
    """Whether nothing has to be mended: a model could run on a GPU, or there is no card here and nothing else is in the way."""
    answer: str
    findings: tuple[Finding, ...]


def examine(machine: DoctorFacts) -> Examination:
    """Every finding on `machine`, and the answer."""
    findings = tuple(finding for check in CHECKS for finding in check(machine))
    problems = [finding.id for finding in findings if finding.status == "problem"]
    usable = [card for card in machine.cards if not any(problem.startswith(f"{card.id}.") for problem in problems)]
    in_the_way = [problem for problem in problems if "." not in problem]
    if not problems and machine.driver.expects_no_card:
        return Examination(
            FINDINGS_VERSION, False, True, f"no NVIDIA card is here: {_without_cards(machine)}", findings
        )
    if in_the_way or not usable:
        causes = ", ".join(in_the_way or problems) or "no card"
        return Examination(
            FINDINGS_VERSION, False, False, f"no model could run on a GPU here; in the way: {causes}", findings
        )
    names = ", ".join(f"{card.id} ({card.name})" for card in usable)
    return Examination(FINDINGS_VERSION, True, True, f"a model could run on {names}", findings)


def _without_cards(machine: DoctorFacts) -> str:
    virtual = [each.device for each in machine.config.slices if each.card_uuid is None]
    return f"models run on the virtual GPUs {', '.join(virtual)} and on the CPU" if virtual else "models run on the CPU"
