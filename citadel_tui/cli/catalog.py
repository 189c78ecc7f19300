"""The catalog's models as the configuration has them, for commands that need no engine."""

from __future__ import annotations

import os
from pathlib import Path

from engine.core.models import ModelSpec


def models_of_catalog(config: Path | None) -> tuple[ModelSpec, ...]:
    """Raises EngineError when the configuration is wrong."""
    from engine.settings import find_config_folder, find_dotenv, load_settings

    folder = find_config_folder(config, os.environ, Path.cwd())
    # Only the catalog is wanted: which cards there are need not be known for it.
    settings = load_settings(folder, {**os.environ, "CUDA_ENABLED": "false"}, find_dotenv(folder, Path.cwd()))
    return settings.models
