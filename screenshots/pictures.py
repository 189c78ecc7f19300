"""A screen as files: the SVG that Textual and Rich draw, and its PNG where rsvg-convert is installed."""

from __future__ import annotations

import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image

FOLDER: Final = Path(__file__).parent
CONVERTER: Final = "rsvg-convert"
_FITTING: Final = "font-size: 19.825px"
"""At which a character of Fira Code, 1200/1950 of it, is as wide as the picture's cells: 12.2 pixels."""
_COLOURS: Final = 256


def can_convert() -> bool:
    return shutil.which(CONVERTER) is not None


def save(svg: str, path: Path) -> None:
    """The SVG at `path`, and beside it the PNG, in a palette, which takes a fifth of the bytes."""
    path.write_text(svg, encoding="utf-8")
    if can_convert():
        image_of(svg).quantize(_COLOURS).save(path.with_suffix(".png"), optimize=True)


def image_of(svg: str, width: int | None = None) -> Image.Image:
    """In pixels, on white, as wide as it was drawn or as `width` says.

    Raises CalledProcessError, after the converter has said on stderr what is wrong.
    """
    # The converter drops blanks at the beginning of a text unless it is told to keep them, and knows no textLength.
    kept = svg.replace("<text ", '<text xml:space="preserve" ').replace("font-size: 20px", _FITTING)
    # Fira Code would make one arrow of the two characters that a terminal shows.
    kept = kept.replace("-&gt;", '-<tspan dx="0">&gt;</tspan>')
    command = [CONVERTER, "--background-color", "white", *(("--width", str(width)) if width else ())]
    drawn = subprocess.run(command, input=kept.encode(), stdout=subprocess.PIPE, check=True).stdout
    return Image.open(BytesIO(drawn)).convert("RGB")
