"""The allocation strategy in words, with the values of the policy that was in force."""

from __future__ import annotations

from typing import assert_never

from engine.core.policy import Balancing, Policy


def strategy(policy: Policy) -> str:
    """A list: how a model finds its place under `policy`."""
    loading = (
        "A request for a model that is not ready loads it."
        if policy.dynamic_loading
        else "Only the operator loads models (DYNAMIC_LOADING_ENABLED is off); a request for another one is refused."
    )
    fallback = (
        "A model that no GPU has room for runs on the CPU."
        if policy.cpu_fallback
        else "Nothing falls back to the CPU (CPU_FALLBACK_ENABLED is off): a model that no GPU has room for waits."
    )
    points = [
        loading,
        "A model that is on a GPU is used there. One that is not is offered to every healthy GPU.",
        _balancing(policy.balancing),
        _eviction(policy),
        "Pinned models, and models in use, never leave; one that has just come stays for at least "
        f"{policy.min_residency_s:g} s.",
        fallback,
    ]
    return "\n".join(f"{number}. {point}" for number, point in enumerate(points, 1))


def _balancing(balancing: Balancing) -> str:
    match balancing:
        case "spread":
            rule = "the one with the fewest models"
        case "pack":
            rule = "the fullest one"
        case "most_free":
            rule = "the one with the most room"
        case _:
            assert_never(balancing)
    return f"Where there is room, nothing leaves; among GPUs with room it is {rule} (balancing `{balancing}`)."


def _eviction(policy: Policy) -> str:
    match policy.eviction:
        case "expected_loss":
            rule = "the set whose loss costs the fewest expected seconds: decayed demand × predicted reload time"
        case "lru":
            rule = "the models that have been unused for longest"
        case "lfu":
            rule = "the models that are asked for least"
        case "gdsf":
            rule = (
                "the models of the lowest GreedyDual priority: use × reload time ÷ size, aged by what has left before"
            )
        case "ttl":
            rule = f"models that nobody asked for in {policy.ttl_s:g} s, then those unused for longest"
        case _:
            assert_never(policy.eviction)
    return f"Where there is none, victims leave: over all GPUs, {rule} (eviction `{policy.eviction}`)."
