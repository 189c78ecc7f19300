"""`citadel drive`: a trace, or generated demand, played against the live engine with real requests."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from citadel_tui.bench.files import check_writable, save_requests
from citadel_tui.bench.request_text import requests_text
from citadel_tui.cli.engine import at_hand
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.input_files import add_generated, generated_requests, read_lines
from citadel_tui.cli.output import progress, table, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import GeneratedDemand, count, factor, seconds
from citadel_tui.text import clean
from citadel_tui.words.figures import count_text, seconds_text, share_text
from citadel_tui.words.labels import Label, labels
from engine.api import EngineAPI, EngineError, EngineUnreachable
from engine.bench.requests import requests_run_of
from engine.bench.statistics import Spread
from engine.core.serialization import to_json
from engine.core.state import State
from engine.drive.calls import Call, Cast, by_rank, calls, in_turn, read_cast
from engine.drive.outcome import PlayFigures, outcome, request_series
from engine.drive.play import Ended, Player, PlayProgress, Watch
from engine.recording.trace import TraceError, TraceRequest, read_trace

_LEFT: Final = "nothing was sent"


class DriveArguments(Arguments, frozen=True, kw_only=True):
    trace: Path | None
    generated: GeneratedDemand | None
    speed: float
    models: str
    """Who plays the trace's models: `cycle`, `by-rank` or a file's path."""
    limit: int | None
    duration: float | None
    """Seconds."""
    json: bool
    output: Path | None
    csv: Path | None
    markdown: Path | None

    @property
    def demand(self) -> Path | GeneratedDemand | None:
        """Where the requests come from; None when neither or both are named."""
        return None if self.trace and self.generated else self.trace or self.generated


def add_arguments(command: CommandParser) -> None:
    command.add_argument(
        "trace", nargs="?", type=Path, metavar="TRACE", help="lines of t_s,model,work, under that heading"
    )
    add_generated(command)
    command.add_argument("--speed", type=factor, default=1.0, metavar="X", help="so many times as fast (1)")
    command.add_argument("--models", default="cycle", metavar="cycle|by-rank|FILE", help="who plays the trace's models")
    command.add_argument("--limit", type=count, metavar="N", help="the first N requests")
    command.add_argument("--duration", type=seconds, metavar="S", help="for S seconds")
    command.add_argument("--json", action="store_true", help="all of it, in seconds and shares")
    command.add_argument("--output", "-o", type=Path, metavar="FILE", help="keep every request, for `bench compare`")
    command.add_argument("--csv", type=Path, metavar="FILE", help="a row a request")
    command.add_argument("--markdown", type=Path, metavar="FILE", help="their times, as a document has them")
    command.carried_out_by(run, DriveArguments)


def run(arguments: DriveArguments) -> int:
    for kept in (arguments.output, arguments.csv, arguments.markdown):
        check_writable(kept)
    match arguments.demand:
        case Path() as trace:
            requests, named = read_lines(trace, read_trace, _LEFT), str(trace)
        case GeneratedDemand() as wanted:
            requests, named = generated_requests(wanted), wanted.text
        case None:
            tell("drive takes a trace, or --generated and no trace")
            return Exit.NO_ENGINE
    return asyncio.run(_drive(arguments, requests, named))


async def _drive(arguments: DriveArguments, requests: Sequence[TraceRequest], named: str) -> Exit:
    async with at_hand(arguments) as engine:
        before = await engine.snapshot()
        state = before.state
        cast = _cast(arguments.models, requests, state)
        specs = {name: known.spec for name, known in state.models.items()}
        planned = calls(requests, cast, specs, arguments.speed, arguments.limit)
        hello = await engine.hello()
        if hello.banner:
            tell(hello.banner)
        watch = Watch(engine)
        ended = await _played(engine, watch, planned, arguments.duration)
    cut = len(ended) < len(planned)
    played = outcome(named, arguments.speed, cast, stopped=cut, ended=ended, watch=watch)
    series = request_series(ended, watch, state)
    found = requests_run_of(hello.version, before.at_s, state, _mix_text(played), series)
    if arguments.json:
        print(to_json(played).decode())
    else:
        print("\n\n".join([outcome_text(played, labels(state)), *([requests_text(found)] if series else [])]))
    save_requests(found, arguments.output, arguments.csv, arguments.markdown)
    if watch.lost:
        raise EngineUnreachable(watch.lost)
    if played.stopped and arguments.duration is None:
        return Exit.INTERRUPTED
    return Exit.FAILED if played.failed else Exit.DONE


async def _played(
    engine: EngineAPI, watch: Watch, planned: Sequence[Call], duration_s: float | None
) -> Sequence[Ended]:
    """The calls that have ended; all of them, unless something ended the play."""
    with progress() as show:
        player = Player(engine, planned, lambda tally: show(progress_text(tally, len(planned), watch)))
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(watch.follow())
            following.add_done_callback(lambda _gone: player.stop())
            with _ended_by(player, duration_s):
                ended = await player.play()
            await watch.caught_up()
            following.cancel()
    return ended


@contextlib.contextmanager
def _ended_by(player: Player, duration_s: float | None) -> Iterator[None]:
    """The first Ctrl+C, and the end of `duration_s`, end the play in order; a second Ctrl+C ends the command."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        tell("no more requests; waiting for those under way (Ctrl+C again: don't wait)")
        player.stop()

    with contextlib.suppress(ValueError, RuntimeError):  # signals belong to the main thread, and tests run elsewhere
        loop.add_signal_handler(signal.SIGINT, stop)
    timer = None if duration_s is None else loop.call_later(duration_s, player.stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        if timer is not None:
            timer.cancel()


def _cast(models: str, requests: Sequence[TraceRequest], state: State) -> Cast:
    """Raises EngineError."""
    catalog = [name for name, known in state.models.items() if not known.trouble]
    try:
        match models:
            case "cycle":
                return in_turn(requests, catalog)
            case "by-rank":
                return by_rank(requests, catalog)
            case _:
                return read_lines(Path(models), lambda lines: read_cast(lines, requests, catalog), _LEFT)
    except TraceError as error:
        raise EngineError(str(error)) from None


def progress_text(now: PlayProgress, calls: int, watch: Watch) -> str:
    pressed = watch.pressed.use
    return (
        f"{now.ended} of {calls} answered, {now.sent - now.ended} under way, {now.failed} failed, "
        + count_text(len(watch.switches), "switch", "switches")
        + ("" if pressed is None else f", {share_text(pressed.mean)} filled")
    )


def outcome_text(played: PlayFigures, label: Label) -> str:
    """Who played whom, then a line for each figure."""
    return "\n".join(
        [_cast_text(played, label), "", table(["", ""], list(_rows(played))).lstrip("\n"), *_failures(played)]
    )


def _mix_text(played: PlayFigures) -> str:
    """The same for two plays of the same demand by the same models."""
    parts = ", ".join(f"{part} by {player}" for part, player in played.cast.parts.items())
    return f"{played.demand}, {played.speed:g} times as fast; {parts}"


def _cast_text(played: PlayFigures, label: Label) -> str:
    parts = ", ".join(f"{clean(part)} → {label(player)}" for part, player in played.cast.parts.items())
    left_out = played.cast.left_out
    absent = f"\nleft out, since nobody plays them: {', '.join(left_out)}" if left_out else ""
    return f"{clean(played.demand)}, {played.speed:g} times as fast\n{parts}{absent}"


def _rows(played: PlayFigures) -> Iterator[tuple[str, str]]:
    cut = ", stopped before its end" if played.stopped else ""
    yield "requests", f"{played.requests} in {seconds_text(played.seconds)}{cut}; {played.failed} failed"
    served = ", ".join(f"{device} {count}" for device, count in sorted(played.served.items()))
    yield "served by", served or "nobody"
    answered = sum(played.served.values())
    yield "hits", f"{played.hits} ({share_text(played.hits / answered)})" if answered else "-"
    if played.delays is not None:
        delays = played.delays
        mean, p50, p99 = (seconds_text(seconds) for seconds in (delays.mean_s, delays.p50_s, delays.p99_s))
        yield "delay", f"of {answered} answers, mean {mean}, p50 {p50}, p99 {p99}; without those that failed"
    yield "switches", _spread(played.switches)
    yield "without waits", _spread(played.moving)
    yield (
        "besides",
        (
            f"{played.prepared} loads that prepared a model first, {played.victims} victims, {played.broken_switches} failed"
        ),
    )
    yield "budget filled", _filled(played)
    if (best := played.fullest) is not None:
        yield (
            "at best",
            f"{share_text(best.share)} for these requests; {share_text(best.model_share)} with {best.model}",
        )


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "none"
    p50, p95, longest = (seconds_text(seconds) for seconds in (spread.p50, spread.p95, spread.largest))
    return f"{spread.count}, p50 {p50}, p95 {p95}, longest {longest}"


def _filled(played: PlayFigures) -> str:
    if played.utilization_all is None or played.utilization_peak is None:
        return "-"
    all_along = f"{share_text(played.utilization_all)} over all, {share_text(played.utilization_peak)} at most"
    if played.utilization is None:
        return f"{all_along}; no model had to make room for another"
    return f"{share_text(played.utilization)} from the first eviction for room on; {all_along}"


def _failures(played: PlayFigures) -> list[str]:
    return [f"{count} × {clean(reason)}" for reason, count in played.failures.items()]
