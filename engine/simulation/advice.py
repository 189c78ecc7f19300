"""What would have helped recorded requests: each variant of the box replayed, and held against the box as it is. Pure, and the
same requests always give the same advice.

Each variant is replayed in one go; then that is cut into parts of as many requests, and each part's saving is a sample of its
own. So what a variant saves has an interval, and a burst that happened once is told from what goes on all along.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean, stdev
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from engine.core import ledger
from engine.core.names import ModelName
from engine.recording.trace import TraceError, TraceRequest, without_repeats
from engine.simulation.compute import Compute, timed_start
from engine.simulation.timed import PartedOutcome, replay_in_parts
from engine.simulation.variants import Setup, Variant, variants

PARTS: Final = 8
_QUANTILE: Final = 3.499
"""Student's t with 7 degrees of freedom, two-sided, 99 of 100: with 95, one of some two dozen variants would help by chance."""
MOST_REQUESTS: Final = 5_000
"""Replayed where nobody says otherwise, the newest of them: a minute or two for all variants."""
_CPU_GIVE: Final = 0.01
"""So many more of the requests on the CPU, as a share, are taken for as many."""
_PER: Final = 1000
"""Requests that switch seconds are counted for."""


class Question(Struct, frozen=True):
    """All that advice is made of."""

    setup: Setup
    requests: tuple[TraceRequest, ...]
    """In order of time, each for a model that a GPU of the setup can hold."""
    work_per_s: float | None = None
    """What a GPU does of the requests' work in a second; None: runs take no time, and only models are waited for."""
    recorded: int = 0
    """Requests that there were, those that were left out included."""
    remarks: tuple[str, ...] = ()
    """What is replayed otherwise than it was, each one sentence."""


class Saving(Struct, frozen=True):
    """Seconds, and how sure they are."""

    before_s: float
    saved_s: float
    """Less than 0 where it costs some."""
    give_s: float
    """Between so much less and so much more lies the true saving, in 99 of 100 such recordings."""

    @property
    def is_sure(self) -> bool:
        return self.saved_s > self.give_s


class Suggestion(Struct, frozen=True):
    """A variant and what it would have saved."""

    title: str
    cost: str
    how: str
    switching: Saving
    """Seconds of copying and reading for 1,000 requests."""
    wait: Saving
    """Seconds until a request's model was ready, on average."""
    wait_p99_s: float | None
    denied: int
    on_cpu: float
    """Share of the requests that ran on the CPU."""

    @property
    def helps(self) -> bool:
        """Whether it saves switching or waiting beyond its interval, and costs none of the other."""
        costs = self.switching.saved_s < 0 or self.wait.saved_s < 0
        return not costs and (self.switching.is_sure or self.wait.is_sure)


class Advice(Struct, frozen=True, tag="advice"):
    """What would have helped, the most switch seconds saved first, of like savings the cheapest; and what not."""

    requests: int
    recorded: int
    served: int
    """Of those replayed, when repeats count once."""
    models: int
    seconds: float
    """From the first request to the last."""
    switching_s: float
    """As it is, for 1,000 requests; so the next ones."""
    wait_mean_s: float | None
    wait_p99_s: float | None
    denied: int
    on_cpu: float
    """Share of the requests that ran on the CPU."""
    suggestions: tuple[Suggestion, ...]
    of_no_use: tuple[Suggestion, ...]
    """Those that save no more than a cheaper one of their kind, too."""
    remarks: tuple[str, ...] = ()
    """What was replayed otherwise than it was, each one sentence."""


class Trying(Struct, frozen=True, tag="trying"):
    """How far it is."""

    share: float
    """Of the whole, 0 to 1."""
    title: str
    """What is replayed now."""


AdviceNews: TypeAlias = Trying | Advice


def question(
    setup: Setup, requests: Sequence[TraceRequest], work_per_s: float | None = None, most: int = MOST_REQUESTS
) -> Question:
    """About the newest of `requests` that can be replayed, `most` of them. Raises TraceError when too few are left for parts."""
    largest_bytes = max(setup.box_left.gpus_bytes, default=0)
    unknown = {request.model for request in requests} - setup.sizes.keys()
    too_large = {model for model, size_bytes in setup.sizes.items() if size_bytes > largest_bytes}
    kept = [request for request in requests if request.model not in unknown | too_large][-most:]
    if len(kept) < PARTS:
        raise TraceError(
            f"{len(kept)} requests for models that fit a GPU here are too few for advice; "
            f"it takes {PARTS} at the least, and some hundreds to be worth anything"
        )
    return Question(
        setup=_only(setup, {request.model for request in kept}),
        requests=tuple(kept),
        work_per_s=work_per_s,
        recorded=len(requests),
        remarks=tuple(_remarks(setup, unknown, too_large, work_per_s)),
    )


def _remarks(
    setup: Setup, unknown: set[ModelName], too_large: set[ModelName], work_per_s: float | None
) -> Iterator[str]:
    if unknown:
        yield f"left out: {', '.join(sorted(unknown))}, no longer in the catalog"
    if too_large:
        yield f"left out: {', '.join(sorted(too_large))}, since no GPU here can hold it"
    if not setup.policy.dynamic_loading:
        yield "requests load no models here (dynamic_loading is false); replayed as if they did"
    if work_per_s is None:
        yield "runs are taken to take no time: what is waited for is models, not other requests"


def advise(asked: Question, say: Callable[[Trying], None]) -> Advice:
    """Try every variant, saying how far it is."""
    times = Counter(without_repeats(asked.requests))
    tried = variants(asked.setup, times)
    ended, all_parts = 0, PARTS * (len(tried) + 1)

    def outcome_of(setup: Setup, title: str) -> PartedOutcome:
        def part_ended() -> None:
            nonlocal ended
            ended += 1
            say(Trying(ended / all_parts, title))

        say(Trying(ended / all_parts, title))
        return _replayed(asked, setup, part_ended)

    before = outcome_of(asked.setup, "the box as it is")
    found = [(variant, _suggestion(variant, before, outcome_of(variant.setup, variant.title))) for variant in tried]
    helping = _worth_their_cost([(v, s) for v, s in found if s.helps and _serves_as_well(s, before)])
    waits = before.whole.waits
    return Advice(
        requests=len(asked.requests),
        recorded=asked.recorded or len(asked.requests),
        served=times.total(),
        models=len(asked.setup.sizes),
        seconds=asked.requests[-1].at_s - asked.requests[0].at_s,
        switching_s=fmean(_switching(before)),
        wait_mean_s=waits.mean_s if waits else None,
        wait_p99_s=waits.percentiles_s[99] if waits else None,
        denied=before.whole.denied,
        on_cpu=before.whole.cpu_share,
        suggestions=tuple(helping),
        of_no_use=tuple(s for _, s in found if s not in helping),
        remarks=asked.remarks,
    )


def _serves_as_well(suggestion: Suggestion, before: PartedOutcome) -> bool:
    """Whether no more requests are denied, or answered by the CPU, which saves switching and isn't what was asked for."""
    whole = before.whole
    return suggestion.denied <= whole.denied and suggestion.on_cpu <= whole.cpu_share + _CPU_GIVE


def _worth_their_cost(found: Sequence[tuple[Variant, Suggestion]]) -> list[Suggestion]:
    """Those that save more than what is cheaper and of their kind; the most saved first, of like savings the cheapest."""
    best: dict[str, int] = {}
    kept: list[Suggestion] = []
    for variant, suggestion in found:
        steps = _steps_saved(suggestion)
        if not variant.ladder or steps > best.get(variant.ladder, -1):
            kept.append(suggestion)
            best[variant.ladder] = steps
    return sorted(kept, key=lambda suggestion: -_steps_saved(suggestion))


def _steps_saved(suggestion: Suggestion) -> int:
    """Twentieths of the switch seconds: a difference of less is no reason to pay more."""
    switching = suggestion.switching
    return round(20 * switching.saved_s / switching.before_s) if switching.before_s else 0


def _only(setup: Setup, models: set[ModelName]) -> Setup:
    """With no others than `models`."""
    return replace(
        setup,
        sizes={model: size_bytes for model, size_bytes in setup.sizes.items() if model in models},
        pins={model: pin for model, pin in setup.pins.items() if model in models},
        smaller={model: sizes for model, sizes in setup.smaller.items() if model in models},
    )


def _replayed(asked: Question, setup: Setup, part_ended: Callable[[], None]) -> PartedOutcome:
    compute = Compute(math.inf if asked.work_per_s is None else asked.work_per_s, cpu_bytes=setup.cpu_bytes)
    box = setup.box_left
    start = timed_start(box, compute, setup.sizes)
    policy = replace(setup.policy, dynamic_loading=True)
    for model, pin in setup.pins.items():
        start = ledger.set_pin(start, model, pin)
    return replay_in_parts(asked.requests, start, box, compute, setup.sizes, policy, PARTS, part_ended)


def _suggestion(variant: Variant, before: PartedOutcome, after: PartedOutcome) -> Suggestion:
    waits = after.whole.waits
    return Suggestion(
        variant.title,
        variant.cost,
        variant.how,
        _saving(_switching(before), _switching(after)),
        _saving(_waiting(before), _waiting(after)),
        waits.percentiles_s[99] if waits else None,
        after.whole.denied,
        after.whole.cpu_share,
    )


def _switching(outcome: PartedOutcome) -> list[float]:
    """Of each part, for 1,000 of its requests."""
    return [_PER * part.switch_s / part.requests for part in outcome.parts]


def _waiting(outcome: PartedOutcome) -> list[float]:
    """Of each part, for one of its requests."""
    return [part.waited_s / part.requests for part in outcome.parts]


def _saving(before_s: Sequence[float], after_s: Sequence[float]) -> Saving:
    """Each part against itself: what differs from part to part is mostly how much there was to do."""
    saved_s = [before - after for before, after in zip(before_s, after_s, strict=True)]
    return Saving(fmean(before_s), fmean(saved_s), _QUANTILE * stdev(saved_s) / math.sqrt(PARTS))
