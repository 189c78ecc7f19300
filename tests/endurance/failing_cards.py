"""Eight scripted cards that fail, vanish and return while models are moved about on them."""

from __future__ import annotations

from random import Random
from typing import Final

from msgspec.structs import replace

from engine.core.devices import DeviceSpec, Health, Reading
from engine.core.names import DeviceId
from engine.core.sizes import MIB
from engine.core.state import DeviceState, State
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import with_requests

CARDS: Final = tuple(f"gpu{number}" for number in range(8))
_ILL: Final[tuple[Health, ...]] = ("lost", "stale", "failed", "not answering", "unsupported", "starting")


def with_eight_cards(state: State) -> State:
    """`state` with six more cards; one of them has a name in wide characters."""
    first = state.devices["gpu0"]
    cards = {card: _card(first, card) for card in CARDS[2:]}
    cpu = {name: known for name, known in state.devices.items() if name not in CARDS}
    return replace(state, devices={"gpu0": first, "gpu1": state.devices["gpu1"], **cards, **cpu})


def _card(like: DeviceState, card: DeviceId) -> DeviceState:
    title = "計算カード e\u0301" if card == "gpu5" else like.spec.title
    spec = DeviceSpec(card, title, "gpu", "ram", like.spec.total_bytes, like.spec.fraction)
    return replace(like, spec=spec, reading=Reading("ok", "", 0, 0, at_s=like.reading.at_s))


def stir_cards(engine: ScriptedEngine, home: State, random: Random) -> None:
    """Something happens to one of the cards, which were at first as in `home`."""
    card = random.choice(CARDS)
    state = engine.state
    devices = dict(state.devices)
    match random.randrange(4):
        case 0 if card in devices and not any(resident.device == card for resident in state.residents):
            del devices[card]
        case 1 if card in devices:
            health = random.choice(_ILL)
            reading = Reading(health, "it fell off the bus; 応答なし", at_s=devices[card].reading.at_s)
            devices[card] = replace(devices[card], reading=reading)
        case 2 if card in devices:
            external_bytes = random.randrange(200) * MIB
            reading = Reading("ok", "", external_bytes, external_bytes, random.randrange(100), random.randrange(101))
            devices[card] = replace(devices[card], reading=replace(reading, at_s=devices[card].reading.at_s))
        case _:
            devices[card] = home.devices[card]
            engine.add_notice(f"{card} is back")
    order = {name: devices[name] for name in home.devices if name in devices}
    engine.set_state(with_requests(replace(state, devices=order), random.randrange(100)))
