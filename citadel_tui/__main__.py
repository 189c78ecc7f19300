"""`python -m citadel_tui`: the `citadel` command, for a checkout that is not installed."""

import sys

from citadel_tui.cli import main

sys.exit(main())
