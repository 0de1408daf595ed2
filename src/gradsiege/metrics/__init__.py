"""How close is a reconstruction to its victim? Functional metrics on images in [0, 1].

`gradsiege.metrics.table(reconstructions, truths)` returns all image metrics as a data frame, one row per image. Each alone is a
function of a module below, such as `gradsiege.metrics.fidelity.peak_signal_noise_ratio`.

Every image metric takes `reconstructions` and `truths`, float tensors [n, C, H, W] in [0, 1] that
are already paired (`assignment`), and returns one float64 value per image [n]: nothing is pooled
over a batch, so one exact image cannot make a batch perfect. A reconstruction that holds a NaN or
an infinity scores NaN and stays a row; images outside [0, 1] are refused, because a metric on the
wrong range is a different metric.

====================  ===========================================================================
`registry`            names, units, directions, ranges and citations of the image metrics (no torch)
`absent`              the value of a metric that could not be computed: a reason instead of a number
`fidelity`            MSE, PSNR, SSIM, multi-scale SSIM
`perceptual`          HaarPSI (no weights needed) and LPIPS (weights verified by SHA-256, else absent)
`on_normalised`       SSIM and LPIPS of normalised images, as published numbers have them
`deep_features`       the layers of AlexNet and VGG16 that LPIPS compares, as one vector per image
`identification`      rank of the victim in a gallery, and the chance of rank one
`perceptual_gallery`  the same by LPIPS
`candidate_rank`      the same for an attack that ranked the gallery itself, by its losses
`assignment`          the assignment of reconstructions to the victims of a batch: a bijection
`labels`              share of a batch's labels that were inferred, duplicates counted
`measurement`         all of these for the reconstructions of one observation
`scoring`             rows of a score table: controls, bound, attacks
`image_table`         the image metrics of pairs of images, for users of Python
`controls`            guesses of an attacker without the gradient, scored like attacks
====================  ===========================================================================

Importing this package loads no torch; its submodules do when they are imported.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Import `table`, the entry point for use from Python."""
    if name != "table":
        raise AttributeError(f"gradsiege.metrics has no {name!r}; it offers table, and its modules")
    # A module `table` would take the function's place as soon as anything imports it.
    from gradsiege.metrics.image_table import table

    return table


def __dir__() -> list[str]:
    """Name what is offered here; every other metric is in its module."""
    return ["table"]
