"""What a terminal is told so that text gets onto the clipboard of whoever sits before it, over SSH too: OSC 52.

tmux and GNU screen keep such a sequence from the outer terminal unless it is wrapped for them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Final

LIMIT_BYTES: Final = 74_994
"""What base64 makes 99,992 bytes of: xterm takes no sequence of more than 100,000."""
_SCREEN_CHUNK: Final = 512
"""GNU screen drops strings of more than 768 bytes."""
_ESC: Final = "\x1b"


def bounded(text: str) -> str:
    """`text`, or as much of its beginning as a terminal takes."""
    return text.encode("utf-8", "replace")[:LIMIT_BYTES].decode("utf-8", "ignore")


def sequence(text: str, environment: Mapping[str, str]) -> str:
    """What to write to the terminal of this environment to have `text` copied."""
    bare = f"{_ESC}]52;c;{b64encode(text.encode('utf-8', 'replace')).decode('ascii')}\a"
    if environment.get("TMUX"):
        # tmux takes the bare one where it may (`set-clipboard on`), and passes the wrapped one on (`allow-passthrough on`).
        return f"{bare}{_ESC}Ptmux;{bare.replace(_ESC, _ESC * 2)}{_ESC}\\"
    if environment.get("TERM", "").startswith("screen"):
        chunks = (bare[at : at + _SCREEN_CHUNK] for at in range(0, len(bare), _SCREEN_CHUNK))
        return "".join(f"{_ESC}P{chunk}{_ESC}\\" for chunk in chunks)
    return bare
