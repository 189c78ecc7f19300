"""A linear layer that goes another way on the host answers as before, and not at all once its weights have left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.worker import host_linear
from engine.worker.host_linear import MOST_ROWS, HostLinear, quicken, suits_onednn


@pytest.fixture
def _is_suited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_linear, "suits_onednn", lambda: True)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(1, 24), (3, 4, 24), (MOST_ROWS, 24), (MOST_ROWS + 1, 24), (24,), (0, 24), (2, 0, 24)]
)
@pytest.mark.usefixtures("_is_suited")
@torch.inference_mode()
def test_the_answer_is_that_of_the_layer_before(shape: tuple[int, ...], has_bias: bool) -> None:
    layer = torch.nn.Linear(24, 10, bias=has_bias)
    rows = torch.randn(shape)
    before = layer(rows)

    quicken(layer)

    assert type(layer) is HostLinear
    torch.testing.assert_close(layer(rows), before, rtol=1e-5, atol=1e-6)
    across = torch.randn(24, 5).t()
    torch.testing.assert_close(layer(across), torch.nn.functional.linear(across, layer.weight, layer.bias))


@pytest.mark.usefixtures("_is_suited")
@torch.inference_mode()
def test_a_layer_whose_weights_have_left_raises() -> None:
    layer = torch.nn.Linear(24, 10)
    quicken(layer)
    for parameter in layer.parameters():
        parameter.data = torch.empty(0)

    with pytest.raises(RuntimeError):
        layer(torch.randn(2, 24))


@pytest.mark.usefixtures("_is_suited")
def test_only_plain_layers_in_float32_are_changed() -> None:
    class Own(torch.nn.Linear):
        """May read its matrix in ways of its own."""

    layers = torch.nn.Sequential(torch.nn.Linear(4, 4, dtype=torch.bfloat16), Own(4, 4), torch.nn.LayerNorm(4))

    quicken(layers)

    assert not any(isinstance(layer, HostLinear) for layer in layers)


@pytest.mark.parametrize(("maker", "is_suited"), [("AuthenticAMD", True), ("GenuineIntel", False), (None, False)])
def test_the_maker_of_the_processor_decides(maker: str | None, is_suited: bool, tmp_path: Path) -> None:
    lines = ["processor\t: 0", *([f"vendor_id\t: {maker}"] if maker else []), "model name\t: a processor"]
    (tmp_path / "cpuinfo").write_text("\n".join(lines))

    assert suits_onednn(tmp_path / "cpuinfo") is is_suited


def test_a_torch_without_the_operation_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def lacks(*_: object) -> torch.Tensor:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    monkeypatch.setattr(host_linear, "_by_onednn", lacks)
    (tmp_path / "cpuinfo").write_text("vendor_id\t: AuthenticAMD\n")

    assert not suits_onednn(tmp_path / "cpuinfo")
