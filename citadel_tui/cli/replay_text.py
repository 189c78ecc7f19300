"""An untimed replay in words: the box, a row for each policy, and one for the clairvoyant reference."""

from __future__ import annotations

from citadel_tui.cli.output import table
from engine.replay.comparison import Comparison
from engine.replay.sizes import GB
from engine.replay.untimed import Outcome


def replay_text(compared: Comparison) -> str:
    """The box in two lines, then a row for each policy and one for the clairvoyant reference."""
    headings = [
        "POLICY",
        "SWITCH s",
        "REGRET",
        "HITS",
        "LOADS",
        "FROM DISK",
        "TO GPU GB",
        "DISK GB",
        "BACK GB",
        "FILLED",
    ]
    outcomes = [*compared.policies.items(), ("clairvoyant*", compared.clairvoyant)]
    rows = [_cells(name, outcome, compared.regret(outcome)) for name, outcome in outcomes]
    note = "* knows the future: a bound to measure against, not a policy. REGRET: switch seconds beyond it."
    return "\n\n".join([_box(compared), table(headings, rows, right=tuple(headings[1:])), note])


def _box(compared: Comparison) -> str:
    box = compared.box
    cards = " + ".join(f"{size_bytes / GB:.2f}" for size_bytes in box.gpus_bytes)
    served = compared.clairvoyant.requests
    return (
        f"{compared.requests} requests for {len(compared.sizes)} models of {sum(compared.sizes.values()) / GB:.1f} GB, "
        f"{served} when repeats count once; untimed, in order\n"
        f"GPUs {cards} GB, RAM tier {box.ram_bytes / GB:.2f} GB (exclusive), "
        f"copies {box.copy_bytes_per_s / GB:.3g} GB/s, disk {box.disk_bytes_per_s / GB:.3g} GB/s"
    )


def _cells(name: str, outcome: Outcome, regret: float) -> list[str]:
    return [
        name,
        f"{outcome.switch_s:.1f}",
        f"{100 * regret:.0f} %",
        f"{100 * outcome.hit_ratio:.1f} %",
        str(outcome.loads),
        str(outcome.disk_loads),
        f"{outcome.to_gpu_bytes / GB:.1f}",
        f"{outcome.from_disk_bytes / GB:.1f}",
        f"{outcome.to_ram_bytes / GB:.1f}",
        "-" if outcome.utilization is None else f"{100 * outcome.utilization:.1f} %",
    ]
