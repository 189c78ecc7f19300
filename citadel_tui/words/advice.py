"""Advice, in words: what was replayed, each suggestion with what it saves and costs, and what is of no use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from citadel_tui.words.figures import age_text, count_text, seconds_text
from engine.replay.untimed import ENOUGH_REQUESTS
from engine.simulation.advice import PARTS, Advice, Saving, Suggestion, Trying

NOTHING_HELPS: Final = "nothing that was tried helps beyond what chance explains"
INTERVAL_TEXT: Final = (
    f"± : in 99 of 100 such recordings the saving differs by no more, judged by {PARTS} parts of this one"
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


def saving_text(suggestion: Suggestion) -> str:
    """Switch seconds: "12.3 s ± 2.0 s of 40.0 s of switching saved for 1,000 requests"."""
    switching = suggestion.switching
    if switching.is_loss or switching.saved_s <= 0:
        return f"as much switching: {_with_give(-switching.saved_s, switching)} more for 1,000 requests"
    saved = _with_give(switching.saved_s, switching)
    return f"{saved} of {seconds_text(switching.before_s)} of switching saved for 1,000 requests"


def waiting_text(suggestion: Suggestion, advice: Advice) -> str:
    """Waits, then and as it is."""
    wait = suggestion.wait
    then = max(0.0, wait.before_s - wait.saved_s)
    text = f"a request waits {seconds_text(then)} for its model instead of {seconds_text(wait.before_s)}"
    text += f" ({_with_give(wait.saved_s, wait)} less)" if wait.saved_s > 0 else f" (± {seconds_text(wait.give_s)})"
    if suggestion.wait_p99_s is not None and advice.wait_p99_s is not None:
        text += f", 99 of 100 up to {seconds_text(suggestion.wait_p99_s)} instead of {seconds_text(advice.wait_p99_s)}"
    if advice.denied:
        text += f"; {suggestion.denied} are denied instead of {advice.denied}"
    return text


def of_no_use_text(suggestions: Sequence[Suggestion]) -> str:
    """All in one sentence; empty where there are none."""
    return f"tried, of no use: {'; '.join(s.title for s in suggestions)}" if suggestions else ""


def trying_text(now: Trying) -> str:
    """How far the replays are."""
    return f"{now.share:.0%}, replaying: {now.title}"


def _waits_as_it_is(advice: Advice) -> str:
    if advice.wait_mean_s is None or advice.wait_p99_s is None:
        return "; no request got its model"
    denied = f"; {advice.denied} are denied" if advice.denied else ""
    return (
        f"; a request waits {seconds_text(advice.wait_mean_s)} for its model on average, "
        f"99 of 100 up to {seconds_text(advice.wait_p99_s)}{denied}"
    )


def _with_give(seconds: float, saving: Saving) -> str:
    return f"{seconds_text(seconds)} ± {seconds_text(saving.give_s)}"
