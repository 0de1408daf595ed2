"""SSIM against batch size, noise, sparsity, training and prior: the charts of GI-PIP, redrawn from our own runs."""

from __future__ import annotations

from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.sweeps import draw_metric

VERSION = 2
TITLE = "SSIM along what makes an attack harder"


def draw(data: StudyData) -> Drawn:
    """Draw SSIM beside the published values."""
    return draw_metric(data, "ssim", TITLE)
