"""How Citadel's way of moving weights compares with the usual ones, measured side by side.

Torch's threads spin as briefly in a benchmark's process as in Citadel's workers: there are as many as processors, and those of
the way that has just run would slow down the next.
"""

import os

from engine.worker.forkserver import BRIEF_SPINNING

os.environ |= BRIEF_SPINNING | os.environ  # before anything imports torch, which reads it once
