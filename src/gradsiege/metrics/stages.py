"""What another choice among an attack's stages would have scored; the best one takes the truth to know, so it is no attack's."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.metrics.assignment import assign
from gradsiege.metrics.fidelity import peak_signal_noise_ratio


def last_and_best_psnr(stages: Tensor, truths: Tensor) -> dict[str, Tensor]:
    """Return PSNR [dB] ``[victims * images]`` of the last stage, and of each victim's best stage.

    Every stage's images are assigned to the truths by themselves. A victim's best stage is the one of the highest mean over
    its images; failed victims have NaN.

    Args:
        stages: ``[victims, stages, images, c, h, w]`` in [0, 1], NaN for failed victims.
        truths: ``[victims, images, c, h, w]`` in [0, 1].

    >>> truth = torch.full((1, 1, 3, 2, 2), 0.5)
    >>> found = last_and_best_psnr(torch.stack([truth + 0.1, truth + 0.01, truth + 0.1], 1), truth)
    >>> {name: round(values.item(), 3) for name, values in found.items()}
    {'psnr_last_stage': 20.0, 'psnr_best_stage': 40.0}
    """
    rows = []
    for own, truth in zip(stages, truths, strict=True):
        ordered = [images[assign(images, truth)] for images in own]
        rows.append(torch.stack([peak_signal_noise_ratio(images, truth) for images in ordered]))
    values = torch.stack(rows)
    best = values.mean(2).nan_to_num(-1.0).argmax(1)
    return {
        "psnr_last_stage": values[:, -1].flatten(),
        "psnr_best_stage": values[torch.arange(len(values)), best].flatten(),
    }
