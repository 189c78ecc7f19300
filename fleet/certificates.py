"""Certificates of a fleet: an authority of its own on the head, by which each box proves to be one of them. Made by openssl.

Kept apart: nothing else knows how a certificate is made.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.core.texts import in_brief
from fleet.ray_cluster import FleetRefused

_DAYS: Final = 3650
_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_authority(certificate: Path, key: Path) -> None:
    """Raises FleetRefused."""
    extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
    _request("/CN=Citadel fleet", extensions, certificate, key)


def make_certificate(address: str, certificate: Path, key: Path, authority: tuple[Path, Path]) -> None:
    """Of the box with that address, signed with the authority's certificate and key. Raises FleetRefused."""
    # A box's processes speak to one another on loopback, too.
    extensions = (f"subjectAltName=IP:{address},IP:127.0.0.1,DNS:localhost", "basicConstraints=critical,CA:FALSE")
    signed = ("-CA", str(authority[0]), "-CAkey", str(authority[1]))
    _request(f"/CN={address}", extensions, certificate, key, signed)


def _request(subject: str, extensions: Sequence[str], certificate: Path, key: Path, signed: Sequence[str] = ()) -> None:
    added = (word for extension in extensions for word in ("-addext", extension))
    command = ["openssl", "req", "-x509", *_KEY, "-days", str(_DAYS), "-subj", subject, *added, *signed]
    try:
        ran = subprocess.run(
            [*command, "-keyout", str(key), "-out", str(certificate)],
            capture_output=True,
            text=True,
            check=False,
            umask=0o077,
        )
    except OSError as error:
        raise FleetRefused(
            f"openssl can't be started ({error.strerror}); install it: certificates are made with it"
        ) from None
    if ran.returncode:
        raise FleetRefused(f"openssl made no certificate for {subject}: {in_brief(ran.stderr.strip(), 300)}")
