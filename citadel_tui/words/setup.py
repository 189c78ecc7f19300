"""What is said where nobody has set anything up yet: of an engine on the program's own defaults, and of an empty catalog."""

from __future__ import annotations

from engine.defaults import DEFAULT_FILES, is_of_the_program

_ALLOCATION, _CATALOG = DEFAULT_FILES


def folder_text(config: str) -> str:
    """The folder `config` of a configuration, unless it is the program's."""
    return "the program's own defaults" if is_of_the_program(config) else config


def defaults_text(config: str) -> str:
    """Of an engine that runs on the folder `config`, if nobody wrote that; else nothing."""
    return (
        f"configuration: {folder_text(config)}; `citadel init` writes one to change"
        if is_of_the_program(config)
        else ""
    )


def no_models_text(config: str) -> str:
    """How a model gets into the empty catalog of `config`."""
    if is_of_the_program(config):
        return (
            f"No model yet: these are the program's own defaults. `citadel init` writes {_ALLOCATION} and {_CATALOG}; "
            "then `citadel stop`, start again, and `citadel models add`."
        )
    return f"No model yet: `citadel models add hub:OWNER/NAME` or path:FOLDER writes one to {config}/{_CATALOG}."
