"""`python -m fleet.operations init|add|leave|doctor`: a fleet's Ray, begun, grown, left and looked at. Every refusal says what
was kept; what can't be finished is undone, or named."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from engine.api import EngineError, EngineUnreachable
from engine.client import RemoteEngine
from engine.core.boxes import BoxView
from engine.core.names import BOX_NAME_RULE, BoxName, is_box_name
from engine.paths import Paths, find_paths, fleet_file, fleet_paths, make_folders
from engine.version import VERSION
from engine.whole_file import FOR_ALL, write_whole
from fleet import units
from fleet.certificates import make_authority, make_certificate
from fleet.far import FarBox
from fleet.fleet_text import put_in, take_out
from fleet.joining import SECRETS, Bundle, Facts, Look, leave, look
from fleet.ray_cluster import (
    FIRST_PORT,
    PORTS,
    FleetRefused,
    Membership,
    RayFolder,
    check_address,
    versions,
    wrong_versions,
)
from fleet.settings import BoxEntry, load_fleet

_CLOCKS_S: Final = 2.0
"""By so much clocks may differ before it is said: journals are put in order by them."""


def main() -> int:
    arguments = _parser().parse_args()
    try:
        return int(arguments.carry_out(arguments, find_paths(os.environ)) or 0)
    except EngineError as error:
        _tell(f"citadel: {error}")
    except OSError as error:
        _tell(f"citadel: {error.filename} can't be changed: {error.strerror}")
    return 2


def _init(arguments: argparse.Namespace, paths: Paths) -> None:
    """This box is the head."""
    name, address, folder, file = _own_name(arguments.name), arguments.address, RayFolder(paths), fleet_file(os.environ)
    if folder.path.exists():
        raise FleetRefused(f"this box is in a fleet's Ray already, by {folder.path}; `citadel fleet leave` it first")
    check_address(address)
    _check_own(address)
    if wrong := next(wrong_versions(versions(), "this box"), ""):
        raise FleetRefused(wrong)
    if file.exists():
        load_fleet(file)  # one with mistakes would keep the service from starting
    membership = Membership(name, address, f"{address}:{FIRST_PORT}")
    make_folders(paths)
    folder.path.mkdir(mode=0o700)
    try:
        write_whole(folder.token, secrets.token_hex(32).encode())
        make_authority(folder.ca, folder.ca_key)
        make_certificate(address, folder.certificate, folder.key, (folder.ca, folder.ca_key))
        folder.write(membership)
    except (EngineError, OSError):
        shutil.rmtree(folder.path)
        raise
    _tell(
        f"{folder.path} holds the fleet's token, its authority and this box's certificate: who has them can run programs on"
        " every box"
    )
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, f"boxes:\n  {name}: {{}}\n".encode(), FOR_ALL)
        _tell(f"{file} lists its boxes, this one so far")
    for unit in (units.RAY_UNIT, units.SERVICE_UNIT):
        _tell(units.install(unit))
    _tell(f"now close its ports to others: {closing_words([address])}")
    _tell("then let boxes join: citadel fleet add box2 [HOST]")


def _add(arguments: argparse.Namespace, paths: Paths) -> None:
    name, far = arguments.name, FarBox(arguments.host or arguments.name, arguments.python)
    own, folder, file = _head(paths), RayFolder(paths), fleet_file(os.environ)
    if not is_box_name(name):
        raise FleetRefused(f"{name} can't be a box's name; allowed: {BOX_NAME_RULE}")
    if name in load_fleet(file).boxes:
        raise FleetRefused(f"{file} has a box {name} already")
    facts = far.look(own.address)
    address = arguments.address or facts.address
    if wrong := list(_unfit(facts, address, name, far.python)):
        raise FleetRefused("; ".join([*wrong, f"nothing was changed on {far.host}"]))
    with tempfile.TemporaryDirectory(dir=folder.path, prefix="made-") as made:
        certificate, key = Path(made, "box.crt"), Path(made, "box.key")
        make_certificate(address, certificate, key, (folder.ca, folder.ca_key))
        files = dict(zip(SECRETS, (folder.token, folder.ca, certificate, key), strict=True))
        given = {name: file.read_text() for name, file in files.items()}
    for line in far.join(Bundle(Membership(name, address, own.head), given)).done:
        _tell(f"on {name}: {line}")
    put_in(file, name, far.host)
    _tell(f"{file} has {name}, reached through Ray")
    _reload(paths)
    _tell(f"close its ports to others there: {closing_words([own.address, address])}")


def _leave(arguments: argparse.Namespace, paths: Paths) -> None:
    """A box, or, without a name, this one."""
    file = fleet_file(os.environ)
    boxes = load_fleet(file).boxes if file.exists() else {}
    if arguments.name is None:
        others = [name for name, entry in boxes.items() if entry.ray]
        membership = RayFolder(paths).read()
        if membership and membership.is_head and others:
            raise FleetRefused(f"{', '.join(others)} joined this head's Ray; let them leave first, nothing was changed")
        for line in leave(paths).done or ("this box is in no fleet's Ray",):
            _tell(line)
        return
    name: BoxName = arguments.name
    host = boxes[name].ray if name in boxes else None
    take_out(file, name)
    _tell(f"{file} has {name} no more; its engine and what it holds stay")
    _reload(paths)
    if host is not None:
        try:
            for line in FarBox(host, arguments.python).leave().done:
                _tell(f"on {name}: {line}")
        except FleetRefused as refused:
            raise FleetRefused(
                f"{refused}. Ray may still run on {name}, with the token: run `citadel fleet leave` there"
            ) from refused


def _doctor(arguments: argparse.Namespace, paths: Paths) -> int:
    """Problems are told with what to do, and counted in the status."""
    file, own = fleet_file(os.environ), RayFolder(paths).read()
    boxes = load_fleet(file).boxes if file.exists() else {}
    _tell(f"this box: Citadel {VERSION}, Ray {versions()['ray'] or 'none'}, Python {platform.python_version()}")
    addresses, problems = ([own.address] if own else []), 0
    if own is None:
        _tell("  it is in no fleet's Ray; boxes are reached by sockets and ssh")
    else:
        facts = look(Look(own.address), paths)
        problems += _tell_all("this box", [*_wrong(facts, "this box"), *_unit_words(units.SERVICE_UNIT, own.is_head)])
        _tell(
            f"  {own.box}, {'the head' if own.is_head else f'whose head is {own.head}'}; Ray's unit is {facts.ray_unit}"
        )
    seen = _seen(paths) if boxes else {}
    for name, entry in boxes.items():
        _tell(f"{name}: {_way(entry)}")
        if name in seen and seen[name].standing != "ready":
            problems += _tell_all(name, [f"it is {seen[name].standing}: {seen[name].why}"])
        if entry.ray is not None and own is not None:
            try:
                facts = FarBox(entry.ray, arguments.python).look(own.address)
            except FleetRefused as refused:
                problems += _tell_all(name, [str(refused)])
                continue
            addresses.append(facts.membership.address if facts.membership else facts.address)
            problems += _tell_all(name, list(_wrong(facts, name)))
            _tell(f"  Citadel {facts.citadel}, Ray {facts.versions['ray'] or 'none'}, Ray's unit is {facts.ray_unit}")
    if own is not None and not own.is_alone:
        _tell(f"Ray listens on every address, on each box; this closes it there: {closing_words(addresses)}")
    return int(problems > 0)


# ── what may be wrong ────────────────────────────────────────────────────────────────────────────


def _unfit(facts: Facts, address: str, name: str, python: str) -> Iterator[str]:
    """Why a box can't join."""
    if facts.membership is not None:
        yield f"{name} is in a fleet's Ray already, that of {facts.membership.head}"
    if facts.citadel != VERSION:
        yield f"{name} has Citadel {facts.citadel}, this box {VERSION}"
    yield from wrong_versions(facts.versions, name, python)
    if facts.busy_ports:
        yield f"on {name} somebody listens on {', '.join(map(str, facts.busy_ports))}, where Ray would"
    try:
        check_address(address)
    except FleetRefused as refused:
        yield f"{name} speaks to this box by an address that will not do: {refused}"


def _wrong(facts: Facts, whose: str) -> Iterator[str]:
    """What is wrong with a box that has joined."""
    yield from wrong_versions(facts.versions, whose)
    if facts.membership is None:
        yield f"{whose} is in no fleet's Ray any more; `citadel fleet leave` and add it again"
    if (apart_s := abs(facts.clock_s - time.time())) > _CLOCKS_S:
        yield f"its clock and this box's are {apart_s:.0f} s apart; have both kept by NTP: journals are put in order by them"
    if not facts.runs:
        yield f"Ray does not run, its unit is {facts.ray_unit}; `journalctl --user -u {units.RAY_UNIT}` there may say why"


def _seen(paths: Paths) -> Mapping[BoxName, BoxView]:
    """How the boxes stand, by the fleet's service."""
    try:
        return asyncio.run(RemoteEngine(fleet_paths(paths).socket).snapshot()).boxes
    except EngineUnreachable:
        _tell(
            "the fleet's service does not answer, so that it is not known which boxes do; `citadel fleet serve` starts it"
        )
        return {}


def _unit_words(unit: str, wanted: bool) -> Iterator[str]:
    if wanted and (state := units.state(unit)) != "active":
        yield f"the fleet's service has a unit that is {state}; `systemctl --user restart {unit}`, its log says why"


def closing_words(addresses: list[str]) -> str:
    """The line that closes the ports of a box to all but the fleet's."""
    allowed = ", ".join([*addresses, "127.0.0.0/8"])
    ports = f"{FIRST_PORT}-{FIRST_PORT + PORTS - 1}"
    return f"nft insert rule inet filter input ip saddr != {{ {allowed} }} tcp dport {ports} drop"


def _way(entry: BoxEntry) -> str:
    if entry.ray:
        return f"through Ray, on what ssh calls {entry.ray}"
    return (
        f"by ssh to {entry.ssh}"
        if entry.ssh
        else f"by a socket of this machine{f', {entry.socket}' if entry.socket else ''}"
    )


# ── of this box ──────────────────────────────────────────────────────────────────────────────────


def _own_name(given: str | None) -> BoxName:
    name = given or socket.gethostname().partition(".")[0].lower()
    if not is_box_name(name):
        raise FleetRefused(f"{name} can't be a box's name; give it one with --name: {BOX_NAME_RULE}")
    return name


def _check_own(address: str) -> None:
    """Raises FleetRefused for an address that is not this machine's."""
    try:
        socket.create_server((address, 0)).close()
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise FleetRefused(f"{address} is no address of this box ({why}); give one of its own") from None


def _head(paths: Paths) -> Membership:
    own = RayFolder(paths).read()
    if own is None or not own.is_head:
        head = f"on the head, {own.head.partition(':')[0]}" if own else "where `citadel fleet init` was"
        raise FleetRefused(f"boxes are added {head}; nothing was changed")
    if own.is_alone:
        raise FleetRefused(
            f"{own.address} is reached by nobody else; begin anew with `citadel fleet leave` and another --address"
        )
    return own


def _reload(paths: Paths) -> None:
    """Have the service read the file again, where it runs."""
    try:
        asyncio.run(RemoteEngine(fleet_paths(paths).socket).reload())
    except EngineUnreachable:
        _tell("the fleet's service does not run; it reads the file when it starts")
    except EngineError as error:
        _tell(f"the fleet's service did not read the file again: {error}")


def _tell_all(whose: str, problems: list[str]) -> int:
    for problem in problems:
        _tell(f"  ! {whose}: {problem}")
    return len(problems)


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="citadel fleet")
    actions = parser.add_subparsers(metavar="COMMAND", required=True)
    init = actions.add_parser("init", help="begin a fleet's Ray, with this box as its head")
    init.add_argument("--address", required=True, help="a private one, by which the other boxes reach this one")
    init.add_argument("--name", help="of this box; else its host's")
    init.set_defaults(carry_out=_init)
    add = actions.add_parser("add", help="have a box join, over ssh")
    add.add_argument("name")
    add.add_argument("host", nargs="?", help="what ssh calls it; else its name")
    add.add_argument("--address", help="a private one of its own; else that by which it speaks to this box")
    add.set_defaults(carry_out=_add)
    left = actions.add_parser("leave", help="have a box, or this one, leave; its engine and what it holds stay")
    left.add_argument("name", nargs="?")
    left.set_defaults(carry_out=_leave)
    doctor = actions.add_parser("doctor", help="what is wrong with the boxes' Ray, and what closes it to others")
    doctor.set_defaults(carry_out=_doctor)
    for far in (add, left, doctor):
        far.add_argument("--python", default=sys.executable, help="of the Citadel there; else at this one's path")
    return parser


if __name__ == "__main__":
    sys.exit(main())
