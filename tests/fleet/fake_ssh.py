"""Stands for `ssh` on a test's PATH, for hosts that are folders of this machine beneath $FAKE_HOSTS, which is CITADEL_HOME and
HOME there. Forwards one Unix socket to another, or runs a command; says what OpenSSH says where it can do neither."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while said := await reader.read(1 << 16):
            writer.write(said)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def _forward(near: str, far: str) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(far)
        except OSError as error:
            sys.stderr.write(f"channel 2: open failed: connect failed: {error.strerror}\n")
            writer.close()
            return
        await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))

    os.umask(0o177)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(near)
    await asyncio.sleep(0.2)  # as where the machine is busy: the name is there, and nobody listens yet
    server = await asyncio.start_unix_server(connected, sock=bound)
    async with server:
        await server.serve_forever()


def main(arguments: list[str]) -> int:
    at = arguments.index("--")
    options, host, command = arguments[:at], arguments[at + 1], arguments[at + 2 :]
    home = Path(os.environ["FAKE_HOSTS"], host)
    if not home.is_dir():
        sys.stderr.write(f"ssh: Could not resolve hostname {host}: Name or service not known\n")
        return 255
    if command:
        return subprocess.run(
            ["sh", "-c", *command], env={**os.environ, "CITADEL_HOME": str(home), "HOME": str(home)}
        ).returncode
    (home / "ssh.pid").write_text(f"{os.getpid()}\n")
    near, _, far = options[options.index("-L") + 1].partition(":")
    asyncio.run(_forward(near, far))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
