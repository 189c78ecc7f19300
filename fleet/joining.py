"""`python -m fleet.joining look|join|leave`: what the head has done on another box, over its operator's ssh. Reads one JSON from
standard input, writes one to standard output."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from engine.api import EngineError
from engine.core.serialization import Undecodable, from_json, to_json
from engine.paths import Paths, find_paths, make_folders
from engine.version import VERSION
from engine.whole_file import write_whole
from fleet import units
from fleet.listening import listening
from fleet.ray_cluster import FIRST_PORT, PORTS, Membership, RayFolder, versions

SECRETS: Final = ("token", "ca.crt", "box.crt", "box.key")


class Look(Struct, frozen=True):
    """What the head asks first."""

    head: str
    """Its address."""


class Facts(Struct, frozen=True):
    """Of a box, as its own Python has them."""

    citadel: str
    versions: dict[str, str]
    address: str
    """By which it speaks to the head."""
    clock_s: float
    """Seconds since the epoch."""
    busy_ports: tuple[int, ...]
    """Of those that its Ray would use: somebody else listens there."""
    membership: Membership | None
    runs: bool
    """Whether its Ray listens."""
    ray_unit: str
    """How its unit is, in systemd's words."""


class Bundle(Struct, frozen=True):
    """What a box is given to join."""

    membership: Membership
    secrets: dict[Annotated[str, Meta(pattern=r"^(token|ca\.crt|box\.crt|box\.key)\Z")], str]
    """By the names of their files."""


class Outcome(Struct, frozen=True):
    """What has come of it; the box's own words."""

    done: tuple[str, ...] = ()
    refused: str = ""


def look(asked: Look, paths: Paths) -> Facts:
    membership = RayFolder(paths).read()
    ports = membership.ports if membership else range(FIRST_PORT, FIRST_PORT + PORTS)
    busy = tuple(sorted({each.port for each in listening() if each.port in ports}))
    return Facts(
        VERSION,
        versions(),
        address_towards(asked.head),
        time.time(),
        () if membership else busy,
        membership,
        bool(membership and busy),
        units.state(units.RAY_UNIT),
    )


def join(bundle: Bundle, paths: Paths, environment: Mapping[str, str] = os.environ) -> Outcome:
    """Keep what Ray needs and have it started. What can't be finished is undone, but for a unit that does not start."""
    folder = RayFolder(paths)
    if folder.read() is not None:
        return Outcome(refused=f"it is in a fleet already, by {folder.membership}; `citadel fleet leave` it first")
    try:
        make_folders(paths)
        folder.path.mkdir(mode=0o700)
        for name, secret in bundle.secrets.items():
            write_whole(folder.path / name, secret.encode())
        folder.write(bundle.membership)
        return Outcome((f"{folder.path} holds its token and certificate", units.install(units.RAY_UNIT, environment)))
    except OSError as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        return Outcome(
            refused=f"{error.filename} can't be written ({error.strerror}); what was made there is removed again"
        )


def leave(paths: Paths, environment: Mapping[str, str] = os.environ) -> Outcome:
    """Stop Ray, and forget the fleet; the engine and what it holds stay."""
    folder = RayFolder(paths)
    done = [units.remove(unit, environment) for unit in (units.SERVICE_UNIT, units.RAY_UNIT)]
    if folder.path.exists():
        shutil.rmtree(folder.path)
        done.append(f"{folder.path} is removed")
    return Outcome(tuple(filter(None, done)))


def address_towards(head: str) -> str:
    """This machine's own address on the way to another; empty where there is no way. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((head, FIRST_PORT))
            return str(way.getsockname()[0])
    except OSError:
        return ""


def main(arguments: Sequence[str]) -> int:
    said, paths = sys.stdin.buffer.read(), find_paths(os.environ)
    try:
        match list(arguments):
            case ["look"]:
                answer: Facts | Outcome = look(from_json(said, Look), paths)
            case ["join"]:
                answer = join(from_json(said, Bundle), paths)
            case ["leave"]:
                answer = leave(paths)
            case _:
                answer = Outcome(refused=f"it does not know {' '.join(arguments)}; its Citadel is {VERSION}")
    except (EngineError, Undecodable, OSError) as error:
        answer = Outcome(refused=str(error))
    sys.stdout.buffer.write(to_json(answer))
    return int(isinstance(answer, Outcome) and bool(answer.refused))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
