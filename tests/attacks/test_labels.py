"""Label rules on real gradients; none is ever re-ordered with true labels."""

import torch

from gradsiege.attacks import labels
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state

torch.set_num_threads(1)


def update_of(true: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    model = build(
        ModelSpec("convnet", {"width": 4}, 10, 3, 16), torch.Generator().manual_seed(seed)
    )
    images = torch.rand(len(true), 3, 16, 16, generator=torch.Generator().manual_seed(seed + 1))
    training = LocalTraining("fedsgd", len(true), len(true), 1, 0.1, "eval")
    update, _ = local_update(model, *split_state(model), images, torch.tensor(true), training)
    return {name: value[None] for name, value in update.items()}


def test_row_sum_is_exact_for_one_image() -> None:
    for true in range(10):
        assert labels.row_sum(update_of([true], seed=true), 1).item() == true


def test_row_minimum_finds_distinct_labels_of_a_small_batch() -> None:
    assert labels.row_minimum(update_of([7, 2, 5]), 3).tolist() == [[2, 5, 7]]


def test_inferred_labels_are_sorted_not_aligned_with_the_truth() -> None:
    assert labels.infer(update_of([9, 1]), 2).tolist() == [[1, 9]]


def test_a_broken_update_gets_a_label_without_an_error() -> None:
    broken = {name: torch.full_like(value, torch.nan) for name, value in update_of([3]).items()}
    assert labels.infer(broken, 1).shape == (1, 1)


def test_bias_corrected_counts_find_duplicates() -> None:
    for true in ([4, 4, 4, 1], [0, 2, 2, 9, 9, 9], [5, 5], [3, 6, 7, 8]):
        assert labels.bias_corrected(update_of(true), len(true)).tolist() == [sorted(true)]


def test_rules_that_assume_distinct_labels_miss_duplicates() -> None:
    """The reason for the bias-corrected rule, kept as a fact."""
    assert labels.row_minimum(update_of([4, 4]), 2).tolist() != [[4, 4]]


def test_a_named_rule_is_the_one_that_is_used() -> None:
    update = {
        "head.weight": torch.tensor([[[0.6, -0.9], [-0.3, -0.3], [0.5, 0.4]]]),
        "head.bias": torch.tensor([[0.1, -0.1, -0.6]]),
    }
    found = {rule: labels.infer(update, 1, rule).item() for rule in ("automatic", *labels.RULES)}
    assert found.pop("projection") == 2
    assert found == {"automatic": 1, "row_sum": 1, "row_minimum": 0, "bias_corrected": 2}
