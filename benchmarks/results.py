"""What the benchmark found: every time of every way, what each answered, and what it took of memory."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from engine.recording.host_facts import HostFacts

ENGINE_RAM: Final = "Citadel, RAM tier"
ENGINE_DISK: Final = "Citadel, page cache"
ENGINE_COLD: Final = "Citadel, cold disk"
FROM_PRETRAINED: Final = "from_pretrained, to(device)"


class ModelTimes(Struct, frozen=True):
    """One model."""

    model: str
    synthetic: bool
    size_bytes: int
    times: dict[str, tuple[float, ...]]
    """Seconds until every byte is on the device, by way; the n-th of each is from the n-th round."""
    answers_s: dict[str, tuple[float, ...]]
    """Seconds from there until the first answer, of the ways that give one."""
    hashes: dict[str, tuple[str, ...]]
    """SHA-256 of the vectors of each of these answers."""
    peaks_bytes: dict[str, int]
    """By how much each way's highest memory rose above what its processes held before, in one run of its own."""
    not_run: dict[str, str]
    """Ways that could not be run, and why."""

    @property
    def same_answers(self) -> bool:
        return len({each for hashes in self.hashes.values() for each in hashes}) == 1

    def ratios(self, name: str, *floor: str) -> tuple[float, ...]:
        """Round by round, how many times longer `name` took than all of `floor` together."""
        floors = zip(*(self.times[part] for part in floor), strict=True)
        return tuple(time / sum(parts) for time, parts in zip(self.times[name], floors, strict=True))


class SwitchTimes(Struct, frozen=True):
    """A whole run."""

    machine: HostFacts
    rounds: int
    models: tuple[ModelTimes, ...]
