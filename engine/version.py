"""The version of this program; the distribution's is read from here."""

from typing import Final

VERSION: Final = "0.1.0"
