"""What `make gpu-check` says where it can't run, and what it makes of its figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.hardware import gpu_check
from tests.hardware.result import markdown, outcomes
from tests.hardware.selftest import run_selftest

REPORT = """<testsuites><testsuite>
<testcase classname="tests.hardware.test_memory" name="test_a"><properties><property name="pinned GB/s" value="25.1"/>
</properties></testcase>
<testcase classname="tests.hardware.test_memory" name="test_b"><skipped message="the card is too full"/></testcase>
<testcase classname="tests.hardware.test_memory" name="test_c"><failure message="assert 1 == 2">trace</failure></testcase>
</testsuite></testsuites>"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a CUDA device")
def test_without_a_cuda_device_it_says_so_and_fails(tmp_path: Path) -> None:
    command = [sys.executable, gpu_check.__file__, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"gpu-check: no CUDA device is here: torch {torch.__version__} ")
    assert not list(tmp_path.iterdir())


def test_a_python_without_torch_is_refused_with_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, "-S", gpu_check.__file__, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "lacks torch, transformers, safetensors" in done.stderr
    assert "make gpu-check GPU_PYTHON=/path/to/python3" in done.stderr


def test_pytests_report_becomes_figures_and_reasons(tmp_path: Path) -> None:
    report = tmp_path / "tests.xml"
    report.write_text(REPORT)
    assert outcomes(report) == {
        "passed": 1,
        "skipped": ["tests.hardware.test_memory::test_b: the card is too full"],
        "failures": ["tests.hardware.test_memory::test_c: assert 1 == 2"],
        "figures": {"pinned GB/s": "25.1"},
    }


def test_a_report_that_is_missing_counts_as_a_failure(tmp_path: Path) -> None:
    assert "pytest left no report" in outcomes(tmp_path / "none.xml")["failures"][0]


def test_the_page_has_every_figure_and_says_what_failed() -> None:
    page = markdown(
        {
            "at": "2026-01-02T03:04:05+00:00",
            "seconds": 12.5,
            "passed": False,
            "driver": None,
            "python": "3.12.1",
            "card": {
                "name": "Some Card",
                "memory_bytes": 6 << 30,
                "capability": "6.1",
                "torch": "2.7.1",
                "cuda": "12.6",
                "transformers": "5.0",
            },
            "tests": {"passed": 1, "skipped": [], "failures": ["x: boom"], "figures": {"pinned GB/s": "25.1"}},
            "selftest": {"passed": True, "lines": ["PASS  e5-small loaded on gpu0"]},
            "benchmark": {
                "context_bytes": None,
                "switches": [
                    {
                        "model": "e5-small",
                        "size_bytes": 64 << 20,
                        "first_ms": 90.0,
                        "load_ms": 20.0,
                        "copy_ms": 12.0,
                        "floor_ms": 10.0,
                        "evict_ms": 1.0,
                        "leaked_bytes": 0,
                    }
                ],
                "copies": [{"size_bytes": 10**9, "pageable_ms": 100.0, "locked_ms": None, "reason": "not supported"}],
            },
        }
    )
    assert "**Failed**" in page
    assert "| Some Card, 6,144 MiB, compute capability 6.1 |" in page
    assert "| pinned GB/s | 25.1 |" in page
    assert "- failed: x: boom" in page
    assert "PASS  e5-small loaded on gpu0" in page
    assert "The CUDA context could not be measured." in page
    assert "| e5-small | 64 | 90.0 | 20.0 | 12.0 | 10.0 | 50% | 1.0 | 0 |" in page
    assert "| 954 | 10.0 | not possible: not supported | | |" in page


def test_the_selftest_runs_the_whole_program_on_slices(tmp_path: Path) -> None:
    found = run_selftest(tmp_path, "ram", 300, {"PYTHONPATH": str(gpu_check.ROOT)}, limit_s=120)
    assert found["passed"], found["lines"]
    assert [line.split()[0] for line in found["lines"]] == ["PASS"] * 5
