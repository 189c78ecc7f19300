"""Defects of the engine that the stand-in has found and that are not mended yet, each as the mark of the tests that show it.

The marks are strict: a test that begins to pass fails until its mark is gone.
"""

from __future__ import annotations

import pytest

DEFECT_1 = pytest.mark.xfail(
    strict=True,
    reason="defect 1: out of memory, or one passing error, while the context is made is taken for a card that can't be used",
)
