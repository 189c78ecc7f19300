"""The result of `make gpu-check`: pytest's report as figures, and all figures as a page. Standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

MIB = 1 << 20


def outcomes(report: Path) -> dict[str, Any]:
    """How many tests passed, what failed or was skipped and why, and what tests measured."""
    passed = 0
    skipped: list[str] = []
    failures: list[str] = []
    figures: dict[str, str] = {}
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        return {"passed": 0, "skipped": [], "failures": [f"pytest left no report: {error}"], "figures": {}}
    for case in cases:
        name = f"{case.get('classname')}::{case.get('name')}"
        bad = [part for kind in ("failure", "error") for part in case.iter(kind)]
        if bad:
            failures += [f"{name}: {part.get('message', '')[:300]}" for part in bad]
        elif (skip := case.find("skipped")) is not None:
            skipped.append(f"{name}: {skip.get('message', '')}")
        else:
            passed += 1
        figures |= {item.get("name", ""): item.get("value", "") for item in case.iter("property")}
    return {"passed": passed, "skipped": skipped, "failures": failures, "figures": figures}


def markdown(result: dict[str, Any]) -> str:
    """The page."""
    card, tests = result["card"], result["tests"]
    lines = [
        f"# GPU check: {card['name']}",
        "",
        f"{'Passed' if result['passed'] else '**Failed**'}, {result['at']}, in {result['seconds']} s.",
        "",
        "| | |",
        "|---|---|",
        f"| card | {card['name']}, {card['memory_bytes'] / MIB:,.0f} MiB, compute capability {card['capability']} |",
        f"| driver | {result['driver'] or 'unknown: there is no nvidia-smi'} |",
        f"| torch | {card['torch']}, CUDA {card['cuda']} |",
        f"| transformers | {card['transformers']} |",
        f"| Python | {result['python']} |",
        f"| tests | {tests['passed']} passed, {len(tests['failures'])} failed, {len(tests['skipped'])} skipped |",
        *(f"| {name} | {value} |" for name, value in tests["figures"].items()),
        "",
        *(f"- failed: {failure}" for failure in tests["failures"]),
        *(f"- skipped: {skip}" for skip in tests["skipped"]),
        "",
        "`citadel selftest` on two slices:",
        "",
        "```",
        *result["selftest"]["lines"],
        "```",
        *_benchmark(result["benchmark"]),
    ]
    return "\n".join(lines) + "\n"


def _benchmark(benchmark: dict[str, Any]) -> list[str]:
    if "error" in benchmark:
        return ["", "The benchmark failed:", "", "```", benchmark["error"], "```"]
    context_bytes = benchmark["context_bytes"]
    context = "could not be measured" if context_bytes is None else f"takes {context_bytes / MIB:,.0f} MiB"
    return [
        "",
        f"The CUDA context {context}.",
        "",
        "| model | MiB | first load, ms | load, ms | of that copy | bare copy | efficiency | evict, ms | leaked |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *map(_switch, benchmark["switches"]),
        "",
        "| copy of MiB | pageable GB/s | page-locked GB/s | lock, ms | unlock, ms |",
        "|---:|---:|---:|---:|---:|",
        *map(_copy, benchmark["copies"]),
    ]


def _switch(switch: dict[str, Any]) -> str:
    times = (switch[name] for name in ("first_ms", "load_ms", "copy_ms", "floor_ms"))
    cells = " | ".join(f"{value:.1f}" for value in times)
    efficiency = switch["floor_ms"] / switch["load_ms"]
    size, leaked_bytes = switch["size_bytes"] / MIB, switch["leaked_bytes"]
    evict = f"{switch['evict_ms']:.1f}"
    return f"| {switch['model']} | {size:.0f} | {cells} | {efficiency:.0%} | {evict} | {leaked_bytes} |"


def _copy(copy: dict[str, Any]) -> str:
    size_bytes = copy["size_bytes"]
    pageable = f"{size_bytes / copy['pageable_ms'] / 1e6:.1f}"
    if copy["locked_ms"] is None:
        return f"| {size_bytes / MIB:.0f} | {pageable} | not possible: {copy['reason']} | | |"
    locked = f"{size_bytes / copy['locked_ms'] / 1e6:.1f}"
    return f"| {size_bytes / MIB:.0f} | {pageable} | {locked} | {copy['lock_ms']:.1f} | {copy['unlock_ms']:.1f} |"
