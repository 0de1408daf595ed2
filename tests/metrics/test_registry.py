"""The table of metrics is complete, honest about its functions, and light."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gradsiege.metrics.absent import Absent
from gradsiege.metrics.registry import METRICS, Metric


def test_the_table_names_the_image_metrics() -> None:
    assert list(METRICS) == ["mse", "psnr", "ssim", "ms_ssim", "haarpsi", "lpips", "lpips_vgg"]
    assert all(name == metric.name for name, metric in METRICS.items())
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda m: m.name)
def test_entries_load_a_documented_function_of_a_pair(metric: Metric) -> None:
    function = metric.load()
    assert list(inspect.signature(function).parameters)[:2] == ["reconstructions", "truths"]
    assert f"{function.__module__}.{function.__name__}" == metric.function
    assert ">>>" in (inspect.getdoc(function) or "")
    assert metric.range[0] < metric.range[1]
    assert metric.citation[-4:].isdigit()


def test_importing_the_package_and_its_table_loads_no_torch() -> None:
    code = (
        "import sys, gradsiege.metrics, gradsiege.metrics.absent, gradsiege.metrics.registry; "
        "print(sorted({'torch', 'numpy', 'piq', 'lpips', 'scipy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_importing_the_metrics_loads_no_library_that_only_one_of_them_needs() -> None:
    names = ("fidelity", "perceptual", "identification", "assignment", "labels")
    code = (
        "import sys, "
        + ", ".join(f"gradsiege.metrics.{name}" for name in names)
        + "; print(sorted({'torchvision', 'piq', 'lpips', 'scipy', 'skimage'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_an_absence_is_a_reason_and_never_a_number() -> None:
    absent = Absent("the file is not there")
    conversions: tuple[Callable[[Any], Any], ...] = (float, int, sum)
    for convert in conversions:
        with pytest.raises(TypeError):
            convert(absent)
    with pytest.raises(TypeError):
        _ = absent > 0.5
    assert str(absent) == "absent: the file is not there"
    with pytest.raises(ValueError, match="needs a reason"):
        Absent(" ")
