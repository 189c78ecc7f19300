"""The report's tables as CSV, for spreadsheets and scripts: bytes, seconds, and nothing where a figure is not known."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Final, TextIO

from msgspec.structs import astuple

from citadel_tui.cli.status_report import DeviceStatus, ModelStatus
from citadel_tui.text import clean
from engine.core.insight.request_figures import RequestFigures

DEVICE_COLUMNS: Final = (
    "id",
    "health",
    "models_bytes",
    "used_bytes",
    "external_bytes",
    "budget_bytes",
    "total_bytes",
    "percent_of_budget",
    "percent_of_total",
    "temperature_c",
    "utilization_percent",
    "age_s",
)


def write_device_rows(file: TextIO, at_s: float, devices: Sequence[DeviceStatus], *, heading: bool = True) -> None:
    """A row a device, marked with the time of the sample."""
    rows = csv.writer(file, lineterminator="\n")
    if heading:
        rows.writerow(("at_s", *DEVICE_COLUMNS, "residents", "uuid", "bus_id", "box"))
    for device in devices:
        figures = (getattr(device, column) for column in DEVICE_COLUMNS)
        rows.writerow((round(at_s, 3), *figures, " ".join(device.residents), device.uuid, device.bus_id, device.box))


_MODEL_COLUMNS: Final = (
    *("name", "task", "synthetic", "weights_bytes", "workspace_bytes", "devices", "stages", "pin", "requests"),
    *RequestFigures.__struct_fields__,
)


def write_model_rows(file: TextIO, models: Sequence[ModelStatus]) -> None:
    """A row a model."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(_MODEL_COLUMNS)
    for model in models:
        devices = " ".join(place.device for place in model.places)
        stages = " ".join(place.stage for place in model.places)
        pin = "" if model.pin is None else model.pin.device or "yes"
        sizes = (model.weights_bytes, model.workspace_bytes)
        figures = astuple(model.request_figures or RequestFigures())
        named = (clean(model.name), model.task, model.synthetic, *sizes, devices, stages, pin)
        rows.writerow((*named, model.requests, *figures))
