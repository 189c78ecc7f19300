"""Advice, in words: what was replayed, each suggestion with what it saves and costs, and what is of no use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from citadel_tui.words.figures import age_text, count_text, seconds_text, share_text
from engine.replay.untimed import ENOUGH_REQUESTS
from engine.simulation.advice import PARTS, Advice, Saving, Suggestion, Trying

NOTHING_HELPS: Final = "nothing that was tried helps beyond what chance explains"
OF_NO_USE: Final = "tried, of no use or of no more than something cheaper"
INTERVAL_TEXT: Final = (
    f"±: in 99 of 100 such recordings the saving differs by no more, judged by {PARTS} parts of this one"
)


def few_requests_text(served: int) -> str:
    """Why so many requests, when repeats count once, are too few to judge by; empty where they suffice."""
    if served >= ENOUGH_REQUESTS:
        return ""
    return (
        f"{count_text(served, 'request', 'requests')}, when repeats count once: too few to judge by. "
        f"It takes some {ENOUGH_REQUESTS} for an order to be the right one (docs/strategy.md)"
    )


def advised_text(advice: Advice) -> tuple[str, ...]:
    """What was replayed, and how requests fare as it is: a sentence each."""
    newest = "" if advice.requests == advice.recorded else f" of {advice.recorded}"
    tried = len(advice.suggestions) + len(advice.of_no_use)
    return (
        f"{advice.requests}{newest} requests over {age_text(advice.seconds)} for "
        f"{count_text(advice.models, 'model', 'models')}, {advice.served} when repeats count once, replayed on the box as it is "
        f"and in {count_text(tried, 'other way', 'other ways')}",
        f"as it is: {seconds_text(advice.switching_s)} of switching for 1,000 requests{_waits_as_it_is(advice)}",
    )


def suggestion_facts(suggestion: Suggestion, advice: Advice) -> tuple[tuple[str, str], ...]:
    """What it saves, what it costs and how one gets it: labels and values."""
    return (
        ("switching", _switching_text(suggestion.switching)),
        ("waits", _waits_text(suggestion, advice)),
        ("costs", suggestion.cost),
        ("how", suggestion.how),
    )


def of_no_use_text(suggestions: Sequence[Suggestion]) -> str:
    """All in one sentence; empty where there are none."""
    return f"{OF_NO_USE}: {'; '.join(s.title for s in suggestions)}" if suggestions else ""


def trying_text(now: Trying) -> str:
    """How far the replays are."""
    return f"{now.share:.0%}, replaying: {now.title}"


def _waits_as_it_is(advice: Advice) -> str:
    if advice.wait_mean_s is None or advice.wait_p99_s is None:
        return "; no request got its model"
    denied = f"; {advice.denied} denied" if advice.denied else ""
    denied += f"; {share_text(advice.on_cpu)} run on the CPU" if advice.on_cpu else ""
    return (
        f"; a request waits {seconds_text(advice.wait_mean_s)} for its model on average, "
        f"99 of 100 up to {seconds_text(advice.wait_p99_s)}{denied}"
    )


def _switching_text(switching: Saving) -> str:
    return f"{_saved_text(switching)} of {seconds_text(switching.before_s)} saved for 1,000 requests"


def _waits_text(suggestion: Suggestion, advice: Advice) -> str:
    wait = suggestion.wait
    then = max(0.0, wait.before_s - wait.saved_s)
    text = f"{seconds_text(then)} instead of {seconds_text(wait.before_s)} for a model on average"
    text += f" ({_saved_text(wait)} less)"
    if suggestion.wait_p99_s is not None and advice.wait_p99_s is not None:
        text += f", 99 of 100 up to {seconds_text(suggestion.wait_p99_s)} instead of {seconds_text(advice.wait_p99_s)}"
    if advice.denied:
        text += f"; {suggestion.denied} denied instead of {advice.denied}"
    if advice.on_cpu:
        text += f"; {share_text(suggestion.on_cpu)} on the CPU instead of {share_text(advice.on_cpu)}"
    return text


def _saved_text(saving: Saving) -> str:
    return f"{seconds_text(saving.saved_s)} ± {seconds_text(saving.give_s)}"
