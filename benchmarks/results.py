"""What the benchmark found: every time of every contender, and whether all models gave the same answers."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from engine.bench.records import Machine

ENGINE_RAM: Final = "Citadel, RAM tier"
ENGINE_DISK: Final = "Citadel, page cache"
FROM_PRETRAINED: Final = "from_pretrained, to(device)"


class Result(Struct, frozen=True):
    """One model."""

    model: str
    synthetic: bool
    size_bytes: int
    times: dict[str, tuple[float, ...]]
    """Seconds by contender; the n-th of each is from the n-th round."""
    answers: tuple[str, ...]
    """SHA-256 of the vectors that the first load of each way gave: Citadel from RAM and from the page cache,
    from_pretrained, load_file + assign."""

    @property
    def same_answers(self) -> bool:
        return len(set(self.answers)) == 1

    def ratios(self, name: str, *floor: str) -> tuple[float, ...]:
        """Round by round, how many times longer `name` took than all of `floor` together."""
        floors = zip(*(self.times[part] for part in floor), strict=True)
        return tuple(time / sum(parts) for time, parts in zip(self.times[name], floors, strict=True))


class Results(Struct, frozen=True):
    """A whole run."""

    machine: Machine
    rounds: int
    models: tuple[Result, ...]
