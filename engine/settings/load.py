"""Files and environment to settings, or to the list of everything that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from engine.core.names import CPU
from engine.devices.cards import GpuFacts
from engine.settings.cards import usable_cards
from engine.settings.catalog import read_catalog
from engine.settings.check import differences
from engine.settings.documents import read_yaml, without_nulls
from engine.settings.environment import applied, read_environment
from engine.settings.gpus import UNKNOWN_GPUS, find_gpus
from engine.settings.problems import Place, Problem, SettingsError
from engine.settings.schema import Allocation, Settings, decode_size
from engine.settings.ties import hidden_ties, on_visible

ALLOCATION_FILE: Final = "gpu_allocation.yaml"


def load_settings(
    folder: Path, environment: Mapping[str, str], dotenv: Path | None, cards: Sequence[GpuFacts] = ()
) -> Settings:
    """What the files in `folder` say, with the word of `environment` and of `dotenv` over it.

    `cards`: those of this machine, in the order of the PCI bus. Raises SettingsError with all problems at once.
    """
    problems: list[Problem] = []
    said = read_environment(environment, dotenv, problems)
    in_file = _read_allocation(folder, problems)
    at = Place(ALLOCATION_FILE).child("devices.virtual")
    gpus = find_gpus(in_file.devices.virtual, said, cards, at, problems) if in_file else UNKNOWN_GPUS
    # Without the devices nothing can be said about those that the catalog and the environment name.
    catalog = read_catalog(folder, None if gpus.names is None else (*gpus.names, CPU), problems)
    if problems or in_file is None:
        raise SettingsError(f"The configuration in {folder} was refused; nothing was started or changed.", problems)
    allocation = applied(in_file, said.variables)
    return Settings(
        **{name: getattr(allocation, name) for name in Allocation.__struct_fields__},
        folder=str(folder),
        gpus=dict(gpus.visible),
        cards=usable_cards(cards),
        models=on_visible(catalog, gpus.visible),
        warnings=(*said.warnings, *gpus.warnings, *hidden_ties(catalog, gpus.visible)),
    )


def _read_allocation(folder: Path, problems: list[Problem]) -> Allocation | None:
    """What the file says, with defaults for what is wrong in it; None when it does not even tell the devices."""
    document = read_yaml(folder / ALLOCATION_FILE, problems)
    if document is None:
        return None
    found = list(differences(document, Allocation, Place(ALLOCATION_FILE)))
    problems += found
    wrong = {re.split(r"[.\[]", problem.at.key)[0] for problem in found}
    if not isinstance(document, dict) or "devices" in wrong:
        return None
    sound = {key: value for key, value in document.items() if key not in wrong}
    return msgspec.convert(without_nulls(sound), Allocation, dec_hook=decode_size)
