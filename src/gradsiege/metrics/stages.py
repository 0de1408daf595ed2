"""The scores of other choices among an attack's stages; only the truth shows the best stage, so no attack can choose it."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.metrics.assignment import assign
from gradsiege.metrics.fidelity import peak_signal_noise_ratio


def psnr_by_stage(stages: Tensor, truths: Tensor) -> Tensor:
    """Return the PSNR [dB] of every stage's images, ``[victims * images, stages]``.

    The images of every stage are assigned to the truths separately; failed victims have NaN.

    Args:
        stages: ``[victims, stages, images, c, h, w]`` in [0, 1], NaN for failed victims.
        truths: ``[victims, images, c, h, w]`` in [0, 1].

    >>> truth = torch.full((1, 1, 3, 2, 2), 0.5)
    >>> psnr_by_stage(torch.stack([truth + 0.1, truth + 0.01], 1), truth).round(decimals=3).tolist()
    [[20.0, 40.0]]
    """
    rows = []
    for of_victim, truth in zip(stages, truths, strict=True):
        ordered = [images[assign(images, truth)] for images in of_victim]
        rows.append(torch.stack([peak_signal_noise_ratio(images, truth) for images in ordered], 1))
    return torch.cat(rows)


def last_and_best_psnr(by_stage: Tensor, images: int) -> dict[str, Tensor]:
    """Return PSNR [dB] ``[victims * images]`` of the last stage, and of each victim's best stage.

    A victim's best stage is the one of the highest mean over its `images`.

    Args:
        by_stage: ``[victims * images, stages]``, as `psnr_by_stage` returns them.
        images: number of images per victim.

    >>> psnr = last_and_best_psnr(torch.tensor([[20.0, 40.0, 30.0], [20.0, 30.0, 50.0]]), 1)
    >>> {name: values.tolist() for name, values in psnr.items()}
    {'psnr_last_stage': [30.0, 50.0], 'psnr_best_stage': [40.0, 50.0]}
    """
    victims = by_stage.unflatten(0, (-1, images))
    best = victims.mean(1).nan_to_num(-1.0).argmax(1)
    chosen = victims[torch.arange(len(victims)), :, best]
    return {"psnr_last_stage": by_stage[:, -1], "psnr_best_stage": chosen.flatten()}
