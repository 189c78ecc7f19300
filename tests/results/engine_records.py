"""An engine's records, made with the types that it writes them with: one quiet half minute, then one under pressure."""

from __future__ import annotations

from typing import Final, Literal

from engine.api import PROTOCOL, Hello
from engine.core.commands import Load, Origin
from engine.core.devices import DeviceSpec
from engine.core.names import CPU
from engine.core.plans import EvictStep, LoadStep, Plan, Tier
from engine.core.policy import Policy
from engine.core.prediction import Prediction
from engine.core.records import Phases, Switch
from engine.core.sizes import GIB, MIB
from engine.recording.host_facts import DeviceFacts, HostFacts
from engine.recording.memory import DeviceSample, EngineFacts, ModelFacts, Sample

BEGAN_S: Final = 1_800_000_000.0
INTERVAL_S: Final = 30.0
_BUDGET_BYTES: Final = 512 * MIB


def engine_facts(at_s: float = BEGAN_S, policy: Policy | None = None) -> EngineFacts:
    devices = (_gpu("gpu0"), _gpu("gpu1"), DeviceSpec(CPU, "CPU", "cpu", "host", 4 * GIB, 1.0))
    benched = tuple(DeviceFacts(spec.id, spec.title, spec.total_bytes, None) for spec in devices)
    versions = {"torch": "2.13.0", "transformers": "5.23.0"}
    return EngineFacts(
        at_s=at_s,
        hello=Hello(PROTOCOL, "0.1.0", "box", 1, at_s, "/etc/citadel", "virtual GPUs in host RAM", policy or Policy()),
        machine=HostFacts("box", "a processor", 2, 24 * GIB, "6.1", "3.11.7", versions, benched),
        devices=devices,
        models=(
            ModelFacts("small", "embedding", "float32", "package:small", False, 100 * MIB),
            ModelFacts("large", "embedding", "float32", "synthetic:large", True, 480 * MIB),
            ModelFacts("absent", "generation", "float16", "", False, 0, "absent can't be had"),
        ),
        interval_s=INTERVAL_S,
    )


def sample(after_s: float, gpu0_mib: int, gpu1_mib: int, *, age_s: float = 0.4) -> Sample:
    """The GPUs' memory so long after the beginning, and an idle CPU."""
    gpus = [_filled(f"gpu{number}", mib, age_s) for number, mib in enumerate((gpu0_mib, gpu1_mib))]
    return Sample(BEGAN_S + after_s, (*gpus, DeviceSample(CPU, "ok", 4 * GIB, 0, 0, age_s)))


def switch(
    after_s: float,
    model: str = "large",
    device: str = "gpu0",
    *,
    tier: Tier = "ram",
    copy_s: float = 0.1,
    queue_s: float = 0.5,
    victim: str | None = None,
    origin: Origin = "request",
    outcome: Literal["done", "failed"] = "done",
) -> Switch:
    """A load that was predicted to take 0.2 s, and at worst 0.3 s."""
    load = LoadStep(model, device, 480 * MIB, tier, Prediction(0.2, 0.3))
    steps = (load,) if victim is None else (EvictStep(victim, device, 100 * MIB), load)
    phases = Phases(queue=queue_s, copy=copy_s, warm=0.05)
    plan = Plan(Load(model), steps, ("because",))
    return Switch(
        f"s{after_s}", plan, origin, BEGAN_S + after_s, phases.total_s, phases, outcome, tier=tier, floor_s=copy_s / 2
    )


def _gpu(name: str) -> DeviceSpec:
    return DeviceSpec(name, "virtual GPU in host RAM", "gpu", "ram", 640 * MIB, 0.8)


def _filled(name: str, mib: int, age_s: float) -> DeviceSample:
    models = {"large": mib * MIB} if mib else {}
    return DeviceSample(name, "ok", _BUDGET_BYTES, mib * MIB, 0, age_s, models)
