"""What requests cost, beside one request, the bare model and a peer in the same run: `python -m benchmarks.requests --help`.

Each round measures every row once, both sides of a ratio directly one after the other, so that what else the machine does weighs
on both. The engine's worker is a process of its own on a virtual GPU, as it ships; nothing is simulated but the GPU, and the
worker of the row on streams (`benchmarks.stream_row`), which only talks.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, TypeAlias

from msgspec import Struct
from transformers.utils import logging

from benchmarks import embedding_rows, generation_rows
from benchmarks.asked import ENCODERS, Asked, Sample, asked
from benchmarks.infinity import start_infinity
from benchmarks.report import machine_line
from benchmarks.stream_row import stream_samples
from benchmarks.subjects import DECODER
from engine.prompt_loop import keep_loop_prompt
from engine.recording.host_facts import this_machine

_REAL: Final = ENCODERS[0]
_STREAMS: Final = "a worker that only talks"
Measure: TypeAlias = Callable[[Asked], Awaitable[Mapping[str, Sample]]]


class Row(Struct, frozen=True):
    """A line of the table."""

    title: str
    goal: str


ROWS: Final = {
    "burst": Row("64 single texts at once, throughput ÷ one request of 64", "≥ 0.8"),
    "kept-up": Row("the same kept up: 64 clients × 4 texts", "≥ 0.95"),
    "peer": Row("64 clients × 4 texts, throughput ÷ infinity's", "≥ 1.0"),
    "lone": Row("lone text ÷ tokenizer and bare forward", "≤ 1.1"),
    "lone-64": Row("one request of 64 ÷ the bare model", ""),
    "behind-bulk": Row("a short one behind a bulk of 2,000 (quick: 400) ÷ alone", "≤ 12"),
    "bulk-meanwhile": Row("the bulk's speed meanwhile ÷ its own", "≥ 0.95"),
    "leases-left": Row("60 leavers: leases after 1 s", "0"),
    "patient": Row("who comes then ÷ alone", "≤ 2 batches and its own"),
    "generate": Row("tokens/s of one generation ÷ `generate`", "≥ 1.0"),
    "together-4": Row("tokens/s of 4 generations ÷ one after the other", "≥ 2.1"),
    "together-8": Row("tokens/s of 8 generations ÷ one after the other", "≥ 2.8"),
    "late-joiner": Row("late joiner's first part ÷ on an idle engine", "≤ 1.2 and one step"),
    "large-prompt": Row("others' longest pause while a prompt of 400 joins, in steps", "one step and one piece"),
    "leaver": Row("leaver of 250 tokens (quick: 60): the next one's delay, in steps", "≤ 1"),
    "stream-token": Row("64 streams of 50/s: the engine's time a token, µs", "≤ 25"),
    "stream-late": Row("64 streams of 50/s: the loop late at p99, ms, without waiting for a processor", "≤ 5"),
}


class Group(Struct, frozen=True):
    """Rows that are measured together, of one model."""

    rows: tuple[str, ...]
    model: str
    measure: Measure


GROUPS: Final = (
    Group(("burst",), _REAL, partial(embedding_rows.burst, model=_REAL)),
    Group(("burst",), ENCODERS[1], partial(embedding_rows.burst, model=ENCODERS[1])),
    Group(("kept-up",), _REAL, partial(embedding_rows.kept_up, model=_REAL)),
    Group(("lone", "lone-64"), _REAL, partial(embedding_rows.lone, model=_REAL)),
    Group(("lone", "lone-64"), ENCODERS[1], partial(embedding_rows.lone, model=ENCODERS[1])),
    Group(("behind-bulk", "bulk-meanwhile"), _REAL, partial(embedding_rows.behind_bulk, model=_REAL)),
    Group(("leases-left", "patient"), _REAL, partial(embedding_rows.leavers, model=_REAL)),
    Group(("generate", "together-4", "together-8"), DECODER, generation_rows.together_or_in_turn),
    Group(("late-joiner",), DECODER, generation_rows.late_joiner),
    Group(("large-prompt",), DECODER, generation_rows.large_prompt_joins),
    Group(("leaver",), DECODER, generation_rows.leaver),
)
"""`peer`, `stream-token` and `stream-late` are beside these: one has to be installed, the others have an engine of their own."""


def main() -> int:
    parser = ArgumentParser(description="What requests cost in the engine.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (5)")
    parser.add_argument("--quick", action="store_true", help="two rounds of smaller ones")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--infinity", type=Path, metavar="PYTHON", help="an interpreter that has infinity-emb")
    arguments = parser.parse_args()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    keep_loop_prompt()
    with tempfile.TemporaryDirectory(prefix="citadel-bench-") as folder:
        sys.stdout.write(asyncio.run(_measure(Path(folder), arguments)))
    return 0


async def _measure(folder: Path, arguments: Namespace) -> str:
    wanted = set(arguments.only or ROWS)
    rounds = 2 if arguments.quick else arguments.rounds
    found: dict[tuple[str, str], list[Sample]] = {}
    lines = []
    groups = [group for group in GROUPS if wanted & {*group.rows}]
    names = tuple(dict.fromkeys(group.model for group in groups))
    if "peer" in wanted:
        if arguments.infinity is None:
            lines.append("- infinity: not installed; `--infinity PYTHON` names an interpreter that has infinity-emb")
        else:
            names = tuple(dict.fromkeys((_REAL, *names)))
    if names:
        async with asked(folder, names, is_quick=arguments.quick) as ready, AsyncExitStack() as stack:
            if "peer" in wanted and arguments.infinity is not None:
                peer = await start_infinity(arguments.infinity, ready.folders[_REAL])
                stack.push_async_callback(peer.close)
                groups.append(Group(("peer",), _REAL, partial(embedding_rows.beside_peer, model=_REAL, peer=peer)))
            await _rounds(ready, groups, rounds, found)
            machine = this_machine((await ready.engine.snapshot()).state.devices.values())
            lines.insert(0, machine_line(machine))
    for number in range(rounds if wanted & {"stream-token", "stream-late"} else 0):
        _say(f"streams: round {number + 1} of {rounds}")
        _add(found, _STREAMS, await stream_samples(tokens=50 if arguments.quick else 250))
    shown = {key: samples for key, samples in found.items() if key[0] in wanted}
    return "\n".join([*lines, "", *_table(shown, rounds), ""])


async def _rounds(
    ready: Asked, groups: Iterable[Group], rounds: int, found: dict[tuple[str, str], list[Sample]]
) -> None:
    for number in range(rounds + 1):  # the first does not count
        for group in groups:
            _say(f"{', '.join(group.rows)} of {group.model}: round {number} of {rounds}")
            await ready.until_idle()
            samples = await group.measure(ready)
            if number > 0:
                _add(found, group.model, samples)


def _add(found: dict[tuple[str, str], list[Sample]], model: str, samples: Mapping[str, Sample]) -> None:
    for row, sample in samples.items():
        found.setdefault((row, model), []).append(sample)


def _table(found: Mapping[tuple[str, str], list[Sample]], rounds: int) -> list[str]:
    """Medians with the lowest and the highest round, and the middle of each time."""
    lines = [f"| {rounds} rounds | model | goal | median (lowest–highest) | of, ms |", "|---|---|---|--:|---|"]
    for key, row in ROWS.items():
        for (_, model), samples in ((found_at, each) for found_at, each in found.items() if found_at[0] == key):
            figures = [sample.figure for sample in samples]
            spread = f"{median(figures):.2f} ({min(figures):.2f}–{max(figures):.2f})"
            times = (f"{name} {1e3 * median(s.seconds[name] for s in samples):.1f}" for name in samples[0].seconds)
            lines.append(f"| {row.title} | {model} | {row.goal} | {spread} | {', '.join(times)} |")
    return lines


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
