"""Which images rank the channels."""

import torch

from gradsiege.defenses.tip.ranking import one_image_per_class


def test_one_ranking_sample_per_class_present() -> None:
    assert one_image_per_class(torch.tensor([3, 1, 3, 1, 0])) == [4, 1, 0]
