"""Where this machine listens for TCP, by the kernel's word.

Kept apart: who only wants to know needs neither Ray nor a fleet.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENS: Final = "0A"


class Listening(NamedTuple):
    """A socket that takes connections."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @property
    def is_open(self) -> bool:
        """Whether it takes them on every address of the machine."""
        return self.address.is_unspecified


def listening() -> Iterator[Listening]:
    """All of this network namespace, of every user; nothing where the kernel doesn't tell."""
    for table in _TABLES:
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            _number, local, _remote, state, *_rest = line.split()
            if state == _LISTENS:
                address, _colon, port = local.partition(":")
                yield Listening(_address(address), int(port, 16))


def _address(written: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """As /proc has it: words of four bytes, each a number of this machine's."""
    words = (int(written[start : start + 8], 16) for start in range(0, len(written), 8))
    packed = b"".join(struct.pack("=I", word) for word in words)
    if len(packed) == 4:
        return ipaddress.IPv4Address(packed)
    address = ipaddress.IPv6Address(packed)
    return address.ipv4_mapped or address
