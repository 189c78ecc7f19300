"""What a distribution has beyond pyproject.toml: the manual page, of the commands' parser, and README.md as PyPI can show it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
PICTURE = re.compile(r"!\[[^]]*\]\((?!https?:)[^)]*\)\n*")
LINK = re.compile(r"\[([^]]*)\]\((?!https?:|#)[^)]*\)")
NOTE = "\n*Pictures and the documents that are named here come with the source distribution.*\n"


def without_relative_links(text: str) -> str:
    """PyPI has neither the pictures nor the files beside a README: what leads there is left out, and links become their words."""
    return LINK.sub(r"\1", PICTURE.sub("", text)) + NOTE


def written_man_page() -> Path:
    """Beneath `build`, relative to this file, as setuptools wants it."""
    sys.path.insert(0, str(ROOT))
    from citadel_tui.cli.setup.man_page import man_page

    page = ROOT / "build" / "man" / "citadel.1"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(man_page(), encoding="utf-8")
    return page.relative_to(ROOT)


if __name__ == "__main__":
    setup(
        long_description=without_relative_links((ROOT / "README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
        data_files=[("share/man/man1", [str(written_man_page())])],
    )
