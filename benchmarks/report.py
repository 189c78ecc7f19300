"""The benchmark's results as Markdown: medians, and ratios of the same round with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.results import ENGINE_DISK, ENGINE_RAM, FROM_PRETRAINED, ModelTimes, SwitchTimes
from engine.recording.host_facts import HostFacts


def report_text(results: SwitchTimes) -> str:
    return "\n".join(
        [machine_line(results.machine), "", *(line for result in results.models for line in _lines(result))]
    )


def machine_line(machine: HostFacts) -> str:
    """What the figures depend on."""
    versions = ", ".join(f"{name} {found}" for name, found in machine.versions.items())
    memory = f"{machine.memory_bytes / (1 << 30):.0f} GiB"
    return (
        f"{machine.cpu}, {machine.cores} cores, {memory}; kernel {machine.kernel}, Python {machine.python}, {versions}"
    )


def _lines(result: ModelTimes) -> list[str]:
    kind = ", random weights" if result.synthetic else ""
    rounds = len(result.times["memcpy"])
    same = "the same answers, bit for bit, from every way in every round" if result.same_answers else "ANSWERS DIFFER"
    return [
        f"### {result.model}{kind}: {result.size_bytes / 1e6:.0f} MB, {rounds} rounds; {same}",
        "",
        "| way | median, ms | lowest, ms | ÷ memcpy of the same round: median (lowest–highest) | first answer, ms | peak, MB |",
        "|---|--:|--:|--:|--:|--:|",
        *(_row(result, name) for name in result.times),
        *(f"| {name} | not run: {reason} | | | | |" for name, reason in result.not_run.items()),
        "",
        f"- page cache ÷ (memcpy + read): {_ratio(result.ratios(ENGINE_DISK, 'memcpy', 'read'))}",
        f"- RAM tier above memcpy: {1e3 * median(_above(result)):.1f} ms",
        f"- from_pretrained ÷ RAM tier: {_ratio(result.ratios(FROM_PRETRAINED, ENGINE_RAM))}",
        f"- from_pretrained ÷ page cache: {_ratio(result.ratios(FROM_PRETRAINED, ENGINE_DISK))}",
        "",
    ]


def _row(result: ModelTimes, name: str) -> str:
    times = result.times[name]
    answers_s = [ready + more for ready, more in zip(times, result.answers_s.get(name, ()), strict=False)]
    first = f"{1e3 * median(answers_s):.1f}" if answers_s else "–"
    peak = f"{result.peaks_bytes[name] / 1e6:.0f}"
    spread = _ratio(result.ratios(name, "memcpy"))
    return f"| {name} | {1e3 * median(times):.1f} | {1e3 * min(times):.1f} | {spread} | {first} | {peak} |"


def _above(result: ModelTimes) -> list[float]:
    return [ours - bare for ours, bare in zip(result.times[ENGINE_RAM], result.times["memcpy"], strict=True)]


def _ratio(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})"
