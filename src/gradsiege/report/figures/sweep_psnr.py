"""PSNR against batch size, noise, sparsity, training and prior: the charts of GI-PIP, redrawn from our own runs."""

from __future__ import annotations

from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.sweeps import draw_metric

VERSION = 2
TITLE = "PSNR along what makes an attack harder"


def draw(data: StudyData) -> Drawn:
    """Draw PSNR."""
    return draw_metric(data, "psnr", TITLE)
