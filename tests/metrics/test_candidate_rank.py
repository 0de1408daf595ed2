"""The rank of the victim among candidates, from losses in the order that an attack was given."""

from __future__ import annotations

import pytest
import torch

from gradsiege.metrics.candidate_rank import candidate_rank
from gradsiege.protocol.gallery import order_of

GALLERY = torch.rand(9, 3, 8, 8, generator=torch.Generator().manual_seed(0))
ORDER = order_of(GALLERY)


def test_planted_ranks_are_found_whatever_the_order_of_the_gallery() -> None:
    # The loss of image j for victim v is |j - v|, but for the last victim, whose own image is the worst.
    losses = (torch.arange(9.0) - torch.arange(4.0)[:, None]).abs()
    losses[3] = 100 - torch.tensor([50.0, 20, 30, 0, 10, 60, 70, 80, 90])
    assert candidate_rank(losses[:, ORDER], GALLERY).tolist() == [1, 1, 1, 9]
    # The distractors in another order: the attack was given the same set, so its losses are the same.
    moved = torch.cat([torch.arange(4), torch.tensor([8, 6, 4, 5, 7])])
    assert candidate_rank(losses[:, ORDER], GALLERY[moved]).tolist() == [1, 1, 1, 9]
    assert candidate_rank(losses[:, ORDER], GALLERY, among=4).tolist() == [1, 1, 1, 4]


def test_ties_and_failures_count_against_the_attacker() -> None:
    losses = torch.zeros(3, 9)
    losses[1, 0] = 1e-12
    losses[2] = torch.nan
    assert candidate_rank(losses, GALLERY).tolist() == [9, 9, 9]


def test_losses_of_another_gallery_are_refused() -> None:
    with pytest.raises(ValueError, match="losses of 8 candidates, and a gallery of 9"):
        candidate_rank(torch.zeros(2, 8), GALLERY)
