"""What a play came to, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import mean

from msgspec import Struct

from engine.bench.request_records import RequestRound, RequestSeries, RequestSubject, RequestTimes
from engine.bench.statistics import Spread, spread
from engine.core.insight.fullest import Fullest
from engine.core.names import CPU, DeviceId
from engine.core.ranks import nearest_rank
from engine.core.records import Switch
from engine.core.state import State
from engine.core.tasks import unit_of_work
from engine.drive.calls import Cast
from engine.drive.play import Ended, Watch


class Delays(Struct, frozen=True):
    """Seconds from when a request was due until its answer was here."""

    mean_s: float
    p50_s: float
    p99_s: float
    largest_s: float


class PlayFigures(Struct, frozen=True):
    """A play against a living engine."""

    demand: str
    """The trace's file, or how the demand was generated."""
    speed: float
    cast: Cast
    seconds: float
    """From the first request to the last answer."""
    requests: int
    stopped: bool
    """Whether it ended before all requests of the demand were sent."""
    failures: dict[str, int]
    """How many requests failed, by reason."""
    served: dict[DeviceId, int]
    """How many requests each device answered."""
    hits: int
    """Requests that no load of their model ended for: it was ready already."""
    delays: Delays | None
    """Of the requests that were answered; None when none was."""
    switches: Spread | None
    """Seconds of the loads from the RAM tier or disk, waits for room and for running uses included."""
    moving: Spread | None
    """The same without the waits."""
    prepared: int
    """Loads that had to read an unprepared checkpoint first; not among `switches`."""
    broken_switches: int
    victims: int
    utilization: float | None
    """Mean share of the GPUs' budget that models filled from the first eviction for want of room on; None without one."""
    utilization_all: float | None
    """The same over the whole play."""
    utilization_peak: float | None
    fullest: Fullest | None
    """How full the GPUs could have been for these requests; None where nothing is known of them."""

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def cpu_share(self) -> float | None:
        """Of the requests that were answered, the share that the CPU did."""
        answered = sum(self.served.values())
        return self.served.get(CPU, 0) / answered if answered else None


def outcome(
    demand: str, speed: float, cast: Cast, *, stopped: bool, ended: Sequence[Ended], watch: Watch
) -> PlayFigures:
    answered = [one for one in ended if not one.failure]
    pressed, all_along = watch.pressed.use, watch.all_along.use
    done = [switch for switch in watch.switches if switch.outcome == "done"]
    timed = [switch for switch in done if switch.tier in ("ram", "disk")]
    return PlayFigures(
        demand=demand,
        speed=speed,
        cast=cast,
        seconds=_span_s(ended),
        requests=len(ended),
        stopped=stopped,
        failures=dict(Counter(one.failure for one in ended if one.failure)),
        served=dict(Counter(one.device for one in answered if one.device)),
        hits=sum(not _waited(one, done) for one in answered),
        delays=_delays([one.delay_s for one in answered]),
        switches=spread([switch.total_s for switch in timed]) if timed else None,
        moving=spread([switch.moving_s for switch in timed]) if timed else None,
        prepared=sum(switch.tier == "source" for switch in done),
        broken_switches=sum(switch.outcome == "failed" for switch in watch.switches),
        victims=sum(len(switch.plan.victims) for switch in done),
        utilization=pressed.mean if pressed else None,
        utilization_all=all_along.mean if all_along else None,
        utilization_peak=all_along.peak if all_along else None,
        fullest=watch.could_have_filled(ended),
    )


def request_series(ended: Sequence[Ended], watch: Watch, state: State) -> tuple[RequestSeries, ...]:
    """The answered requests of each model of `state`, those that it had to be loaded for apart; seconds from when each was due.
    The time that a series took is that of the whole play."""
    loads = [switch for switch in watch.switches if switch.outcome == "done"]
    answers: dict[RequestSubject, list[RequestTimes]] = {}
    for one in ended:
        if one.times is not None:
            subject = RequestSubject(one.model, "played", cold=_waited(one, loads))
            answers.setdefault(subject, []).append(one.times)
    return tuple(
        RequestSeries(
            subject,
            state.models[subject.model].synthetic,
            unit_of_work(state.models[subject.model].spec.task),
            tuple(times),
            (RequestRound(_span_s(ended), sum(one.work for one in times)),),
        )
        for subject, times in sorted(answers.items(), key=lambda found: found[0])
    )


def _waited(one: Ended, switches: Sequence[Switch]) -> bool:
    """Whether a load of its model ended between its being due and its answer."""
    until_s = one.due_at_s + one.delay_s
    return any(
        one.due_at_s < switch.at_s + switch.total_s <= until_s
        for switch in switches
        if any(load.model == one.model for load in switch.plan.loads)
    )


def _delays(delays_s: Sequence[float]) -> Delays | None:
    if not delays_s:
        return None
    return Delays(mean(delays_s), nearest_rank(delays_s, 0.5), nearest_rank(delays_s, 0.99), max(delays_s))


def _span_s(ended: Sequence[Ended]) -> float:
    if not ended:
        return 0.0
    return max(one.due_at_s + one.delay_s for one in ended) - min(one.due_at_s for one in ended)
