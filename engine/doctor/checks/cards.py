"""Each visible card: whether it answers, whether torch carries code for it, whether a sum runs on it, and whether it has the
memory that the configuration counts on. Before them what all need: a CUDA that the driver and torch agree on."""

from __future__ import annotations

from collections.abc import Iterator

from engine.core.sizes import GIB, format_room
from engine.defaults import is_of_the_program
from engine.doctor.checks.remedies import KERNEL_LOG
from engine.doctor.checks.software import PASCAL_BUILD, fitting_build, install_torch, visible_capabilities
from engine.doctor.finding import Finding
from engine.doctor.machine import Capability, CardFacts, DoctorFacts, Slice, TorchFacts
from engine.doctor.tables import BUILDS, LAST_PASCAL_DRIVER, build_for, driver_for, install_driver, runs_on

_GENERATIONS: tuple[tuple[Capability, str], ...] = (
    ((10, 0), "Blackwell"),
    ((9, 0), "Hopper"),
    ((8, 9), "Ada"),
    ((8, 0), "Ampere"),
    ((7, 5), "Turing"),
    ((7, 0), "Volta"),
    ((6, 0), "Pascal"),
    ((5, 0), "Maxwell"),
)


def check_visible(machine: DoctorFacts) -> Iterator[Finding]:
    """Whether the environment leaves any card to be used."""
    config, seen = machine.config, len(machine.cards) + machine.hidden_cards
    if seen == 0:
        yield Finding("visible", "not applicable", "there is no card that could be hidden")
    elif not config.cuda_enabled:
        means = "Everything runs on the CPU, by the operator's word."
        yield Finding("visible", "problem", "CUDA_ENABLED is false", means, "Set it to true in .env or the environment")
    elif not machine.cards:
        found = f"CUDA_VISIBLE_DEVICES={config.cuda_visible_devices} hides all cards"
        fix = "Take the variable away: `unset CUDA_VISIBLE_DEVICES`, and its line in .env"
        yield Finding("visible", "problem", found, "Everything runs on the CPU.", fix)
    else:
        yield Finding("visible", "ok", f"{len(machine.cards)} of {seen} cards may be used")


def check_cards(machine: DoctorFacts) -> Iterator[Finding]:
    for card in machine.cards:
        yield _health(card)
        yield _architecture(machine, card)
        yield _sum(machine, card)


def _health(card: CardFacts) -> Finding:
    identity = f"{card.name} ({card.uuid})"
    if card.health == "ok":
        return Finding(f"{card.id}.health", "ok", f"{identity} answers")
    found = f"{identity} is {card.health}: {card.reason}"
    fix = "When it does not come back by itself, restart the machine; `sudo dmesg | grep -i xid` tells what happened"
    if card.lost_since_s is not None:
        fix += f". If it was taken out for good: `citadel gpus --forget {card.id}`"
    return Finding(f"{card.id}.health", "problem", found, "No model is placed on it.", fix)


def _architecture(machine: DoctorFacts, card: CardFacts) -> Finding:
    """Whether the installed torch has code for the card; when not, which torch has."""
    check, torch = f"{card.id}.architecture", machine.torch
    if card.capability is None:
        return Finding(check, "warning", f"the driver does not tell the compute capability of {card.name}")
    if not isinstance(torch, TorchFacts) or not torch.architectures:
        found = f"{_named(card.capability)}; torch does not tell what it was built for"
        return Finding(check, "not applicable", found)
    if runs_on(torch.architectures, card.capability):
        old = card.capability < BUILDS[0].oldest
        means = f"Stay on driver branch {LAST_PASCAL_DRIVER}: the later ones don't know this card." if old else ""
        return Finding(check, "ok", f"{_named(card.capability)}: torch {torch.version} runs on it", means)
    found = f"{_named(card.capability)}: torch {torch.version} was built for {', '.join(torch.architectures)} only"
    build = build_for([card.capability])
    if build is None:
        means = "No torch on PyPI has code for this card; hide it, and models run elsewhere."
        return Finding(check, "problem", found, means, "List the other cards in CUDA_VISIBLE_DEVICES")
    return Finding(check, "problem", found, _carried_by(card.capability), install_torch(machine.host, build))


def _sum(machine: DoctorFacts, card: CardFacts) -> Finding:
    """The proof: a small sum that did or did not run."""
    check, torch = f"{card.id}.compute", machine.torch
    if not isinstance(torch, TorchFacts) or not torch.available:
        return Finding(check, "not applicable", "nothing was tried on the card, since torch can't use CUDA")
    if card.ordinal is None or card.ordinal >= len(torch.cards):
        means = "NVML and CUDA disagree about the cards."
        return Finding(check, "problem", "torch does not see this card", means, "Restart the machine: `sudo reboot`")
    trouble = torch.cards[card.ordinal].trouble
    if trouble:
        means = "Models would fail on it in the same way."
        fix = "Mend the other findings of this card first; then `nvidia-smi` and `sudo dmesg | grep -i xid`"
        return Finding(check, "problem", f"a small sum failed on it: {trouble}", means, fix)
    return Finding(check, "ok", "a small sum ran on it")


def _carried_by(capability: Capability) -> str:
    build = build_for([capability])
    if build is None or build is BUILDS[0]:
        return "A newer torch has code for this card."
    own_code = " (its sm_60 code runs on 6.1, too)" if build is PASCAL_BUILD and capability == (6, 1) else ""
    return (
        f"{build.requirement.replace('==', ' ')} with CUDA {build.cuda} is the last on PyPI for this card{own_code}, and "
        f"driver branch {LAST_PASCAL_DRIVER} the last that knows it."
    )


def _named(capability: Capability) -> str:
    """6.1 (Pascal)."""
    number = ".".join(map(str, capability))
    generation = next((name for oldest, name in _GENERATIONS if capability >= oldest), "older than Maxwell")
    return f"compute capability {number} ({generation})"


def check_cuda(machine: DoctorFacts) -> Iterator[Finding]:
    torch, driver = machine.torch, machine.driver
    if driver.state != "ok":
        yield Finding("cuda", "not applicable", "without a working driver there is no CUDA to compare")
    elif not machine.cards:
        yield Finding("cuda", "not applicable", "no card is visible to compute on")
    elif driver.cuda is None:
        found = "the driver answers, but its CUDA library libcuda.so.1 can't be loaded"
        fix = f"Install the whole driver. {install_driver(machine.host.system)}"
        if machine.host.container:
            fix = "Start the container again with `-e NVIDIA_DRIVER_CAPABILITIES=compute,utility`"
        yield Finding("cuda", "problem", found, "Cards can be watched, but nothing can be computed on them.", fix)
    elif not isinstance(torch, TorchFacts) or torch.cuda is None:
        yield Finding("cuda", "not applicable", f"the driver runs CUDA up to {_dotted(driver.cuda)}; torch has none")
    elif int(torch.cuda.split(".")[0]) > driver.cuda[0]:
        yield _driver_too_old(machine, torch.cuda, driver.cuda)
    elif not torch.available:
        said = torch.trouble or "it does not say why"
        fix = f"Look whether `nvidia-smi` works. {KERNEL_LOG}"
        yield Finding("cuda", "problem", f"torch finds no usable card: {said}", "No model can run on a GPU.", fix)
    else:
        yield Finding("cuda", "ok", f"the driver runs CUDA up to {_dotted(driver.cuda)}, torch brings {torch.cuda}")


def _driver_too_old(machine: DoctorFacts, built: str, runs: tuple[int, int]) -> Finding:
    found = f"torch was built for CUDA {built}; the driver {machine.driver.version} runs CUDA up to {_dotted(runs)}"
    means = "Torch can't start CUDA with this driver."
    update = f"Update the driver to {driver_for(int(built.split('.')[0]))} or newer"
    build = fitting_build(machine)
    if build is None:
        return Finding("cuda", "problem", found, means, update)
    older_torch = f"Take a torch for CUDA {build.cuda}: {install_torch(machine.host, build)}"
    if build is build_for(visible_capabilities(machine)) is not BUILDS[0]:
        # the cards need the older torch anyway, and a newer driver may not know them
        return Finding("cuda", "problem", found, means, older_torch)
    return Finding("cuda", "problem", found, means, f"{update}. Or: {older_torch}")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


_RETAIL_GT_1030_BYTES = 2 * GIB


def check_config(machine: DoctorFacts) -> Iterator[Finding]:
    config = machine.config
    if config.trouble:
        means = "The engine does not start with it."
        yield Finding("config", "problem", config.trouble, means, "Mend what is named, then run `citadel doctor` again")
    elif config.warnings:
        yield Finding("config", "warning", "; ".join(config.warnings))
    elif is_of_the_program(config.folder):
        found = "no configuration is written; the program's own defaults hold, with a catalog without models"
        yield Finding("config", "ok", found, fix="`citadel init` writes one to change")
    else:
        yield Finding("config", "ok", f"the configuration in {config.folder} is sound")


def check_card_memory(machine: DoctorFacts) -> Iterator[Finding]:
    """Slices that exceed their card are not judged here: the configuration is refused for them."""
    for card in machine.cards:
        yield _card(card, [s for s in machine.config.slices if s.card_uuid == card.uuid])


def _card(card: CardFacts, slices: list[Slice]) -> Finding:
    check = f"{card.id}.memory"
    if card.total_bytes is None:
        return Finding(check, "warning", "the driver does not tell how much memory the card has", "It is not used.")
    sliced = format_room(sum(s.memory_bytes for s in slices))
    use = f"{sliced} of it in {len(slices)} {'slice' if len(slices) == 1 else 'slices'}" if slices else "not sliced"
    is_retail = "GT 1030" in card.name and card.total_bytes <= _RETAIL_GT_1030_BYTES
    means = "A GT 1030 as sold has 2 GB, whatever a plan for 6 says." if is_retail else ""
    return Finding(check, "ok", f"{format_room(card.total_bytes)} in total, {use}", means)
