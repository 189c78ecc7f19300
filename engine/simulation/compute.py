"""What runs models in the simulated box: how fast, and how much of the host's RAM the CPU may fill; the state to start in."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from engine.core.devices import DeviceSpec, Reading
from engine.core.models import whole_pages
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.prediction import Rates
from engine.core.sizes import MB
from engine.core.state import DeviceState, ModelState, State
from engine.replay.box import Box, starting_state


class Compute(Struct, frozen=True):
    """How fast the box runs models. Each runs one request at a time; models that run on one device at once share it."""

    work_per_s: float = 1.0
    """What a GPU does in a second, in the trace's unit of work."""
    cpu_slowdown: float = 8.0
    """How many times longer the CPU takes."""
    cpu_bytes: int = 8_000 * MB
    """The budget of the CPU, beside the RAM tier; 0: nothing ever runs there."""

    def speed(self, device: DeviceId) -> float:
        """Seconds of a GPU's work that `device` does in a second."""
        return 1 / self.cpu_slowdown if device == CPU else 1.0


def timed_start(box: Box, compute: Compute, sizes: Mapping[ModelName, int]) -> State:
    """The box with nothing loaded, every model on disk and no worker up. Raises TraceError as `starting_state` does."""
    start = starting_state(box, sizes)
    cpu = DeviceSpec(CPU, "simulated CPU", "cpu", "host", compute.cpu_bytes, 1.0)
    binding = Rates(guess_bytes_per_s=box.copy_bytes_per_s, overhead_s=0.0)
    return replace(
        start,
        devices={**start.devices, CPU: DeviceState(cpu, Reading("starting"), binding)},
        models={name: _in_whole_pages(known) for name, known in start.models.items()},
    )


def _in_whole_pages(known: ModelState) -> ModelState:
    """As the engine will charge it once it has read its slab."""
    return replace(known, footprint=whole_pages(known.footprint))
