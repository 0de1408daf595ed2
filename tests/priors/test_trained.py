"""What the stage `prior` refuses to hand on."""

import pytest
import torch

from gradsiege.errors import GradSiegeError
from gradsiege.priors.trained import refuse_divergence


def test_a_prior_that_diverged_is_named_with_what_to_do() -> None:
    weights = {"a": torch.ones(2), "b": torch.tensor([1.0, torch.nan])}
    with pytest.raises(
        GradSiegeError, match=r"'gan' diverged: 1 of its tensors, 'b'.*learning_rate"
    ):
        refuse_divergence(weights, "gan")
    refuse_divergence({"a": torch.ones(2)}, "gan")
