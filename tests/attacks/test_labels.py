"""Label rules on real gradients; none is ever re-ordered with true labels."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gradsiege.attacks import labels
from gradsiege.errors import StudyError
from gradsiege.models import ModelSpec, build
from gradsiege.models.head import Head
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
    rules = {"row_sum": 1, "row_minimum": 0, "bias_corrected": 2, "projection": 1}
    assert found == {"automatic": 1, **rules}


Scenes = Callable[..., Any]
HEAD, UNBIASED = Head("w", "b", signed=True), Head("w", signed=True)
DEFENSES = {
    **{name: {} for name in ("none", "gaussian", "clipping", "top_k", "sign", "quantization")},
    "soteria": {"probes": 4},
    "precode": {"units": 8},
}
VIT = {"model": "vit_small", "shape": {"depth": 1, "width": 48}}


@pytest.mark.parametrize("model", ["lenet", "convnet", "resnet18"])
@pytest.mark.parametrize("name", ["none", "precode"])
def test_the_automatic_rule_needs_no_exception_for_a_network(
    name: str, model: str, defended: Scenes
) -> None:
    """PRECODE's code has both signs, so that row sums are wrong behind it."""
    scene = defended(name, DEFENSES[name], model=model, victims=10)
    assert torch.equal(labels.inferred(scene.seen), scene.labels)


@pytest.mark.parametrize("model", ["lenet", "convnet", "resnet18"])
def test_a_bias_that_was_received_whole_is_counted_alone(model: str, defended: Scenes) -> None:
    scene = defended("none", model=model, images=4, steps=2)
    counted = labels.inferred(scene.seen, "bias_corrected")
    assert torch.equal(labels.inferred(scene.seen), counted)


@pytest.mark.parametrize(
    "name", ["none", "gaussian", "clipping", "sign", "top_k", "quantization", "soteria", "precode"]
)
def test_the_automatic_rule_is_right_behind_a_layer_norm(name: str, defended: Scenes) -> None:
    scene = defended(name, DEFENSES[name], victims=10, **VIT)
    right = (labels.inferred(scene.seen) == scene.labels).sum()
    assert right == 10, "every known rule but row sums finds all of them"


def test_row_sums_are_wrong_behind_a_layer_norm(defended: Scenes) -> None:
    """Why the automatic rule looks at what the head receives."""
    scene = defended("none", victims=10, **VIT)
    assert (labels.inferred(scene.seen, "row_sum") == scene.labels).sum() < 8


def test_several_steps_and_repeated_labels_behind_a_layer_norm(defended: Scenes) -> None:
    scene = defended("none", images=4, steps=2, victims=3, **VIT)
    assert torch.equal(labels.inferred(scene.seen), scene.labels.sort(-1).values)


def planted(classes: int, count: int, noise: float = 0.0) -> tuple[dict[str, Tensor], Tensor]:
    """Updates of one image each with features of both signs around a common mean; returns them and the labels."""
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(count) % classes
    h = typical(64) + 0.5 * torch.randn(count, 64, generator=generator)
    p = torch.randn(count, classes, generator=generator).softmax(-1)
    b = p - torch.eye(classes)[true]
    update = {"w": b[:, :, None] * h[:, None], "b": b}
    noisy = {
        name: value + noise * torch.randn(value.shape, generator=generator)
        for name, value in update.items()
    }
    return noisy, true[:, None]


def typical(features: int) -> Tensor:
    return torch.randn(features, generator=torch.Generator().manual_seed(1))


def test_rows_and_bias_together_see_through_noise_that_hides_the_bias() -> None:
    update, true = planted(10, 100, noise=0.5)
    share = {
        rule: (labels.infer(update, 1, rule, HEAD) == true).float().mean().item()
        for rule in ("automatic", "bias_corrected", "row_sum")
    }
    assert share["automatic"] >= 0.95
    assert share["bias_corrected"] < 0.8
    assert share["row_sum"] < 0.6


def test_noise_that_hides_the_rows_of_small_features_leaves_the_bias() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(50)[:, None] % 10
    b = 0.1 - torch.eye(10)[true[:, 0]]
    h = 0.001 * torch.rand(256, generator=generator)
    update = {
        "w": b[..., None] * h + 0.05 * torch.randn(50, 10, 256, generator=generator),
        "b": b + 0.05 * torch.randn(50, 10, generator=generator),
    }
    head = Head("w", "b", typical=h.flip(0))
    assert torch.equal(labels.infer(update, 1, head=head), true)
    assert (labels.infer(update, 1, "row_sum", head) == true).float().mean() < 0.5


@pytest.mark.parametrize("classes", [2, 10])
def test_without_a_bias_the_typical_features_tell_the_sign_of_a_row(classes: int) -> None:
    update, true = planted(classes, 20)
    head = Head("w", signed=True, typical=typical(64))
    assert torch.equal(labels.infer(update, 1, head=head), true)
    assert not torch.equal(labels.infer(update, 1, "row_sum", head), true)


def test_without_a_bias_one_bit_per_coordinate_is_enough() -> None:
    update, true = planted(10, 20)
    signs = {name: value.sign() for name, value in update.items()}
    assert torch.equal(labels.infer(signs, 1, head=UNBIASED), true)


def test_a_bias_that_a_defense_has_turned_away_does_not_decide_alone() -> None:
    update, true = planted(10, 40)
    generator = torch.Generator().manual_seed(2)
    turned = {**update, "b": torch.randn(40, 10, generator=generator)}
    head = Head("w", "b", signed=True, typical=typical(64))
    assert torch.equal(labels.infer(turned, 1, head=head), true)
    assert (labels.infer(turned, 1, "bias_corrected", head) == true).float().mean() < 0.5


def test_a_broken_update_gets_a_label_behind_signed_features_too() -> None:
    for value in (torch.nan, torch.inf, 0.0):
        broken = {"w": torch.full((1, 3, 4), value), "b": torch.full((1, 3), value)}
        for images in (1, 5):
            assert labels.infer(broken, images, head=HEAD).shape == (1, images)


def test_without_a_bias_batches_are_counted_from_the_rows() -> None:
    for true in ([4, 4, 4, 1], [0, 2, 2, 9, 9, 9], [3, 6, 7, 8]):
        update = update_of(true)
        head = Head("body.head.weight")
        assert labels.infer(update, len(true), head=head).tolist() == [sorted(true)]


def test_an_update_alone_is_read_at_its_last_matrix() -> None:
    update = {f"body.fc.{k[10:]}" if "head" in k else k: v for k, v in update_of([6]).items()}
    assert list(update)[-2:] == ["body.fc.weight", "body.fc.bias"]
    assert labels.infer(update, 1).tolist() == [[6]]
    with pytest.raises(StudyError, match="no matrix; grant the labels"):
        labels.infer({"conv": torch.zeros(1, 2, 3, 3, 3)}, 1)


@pytest.mark.parametrize("rule", ["row_sum", "row_minimum"])
def test_more_images_than_classes_are_refused_where_every_image_has_a_class_of_its_own(
    rule: str,
) -> None:
    update, _ = planted(2, 3)
    said = f"label_rule '{rule}' gives every image a class of its own: 4 images are more than the 2 classes"
    with pytest.raises(StudyError, match=said):
        labels.infer(update, 4, rule, HEAD)
    for other in ("automatic", "bias_corrected", "projection"):
        assert labels.infer(update, 4, other, HEAD).shape == (3, 4)
    plain = Head("w", "b")
    assert labels.infer(update, 4, head=plain).shape == (3, 4)


def test_a_rule_that_needs_a_bias_says_so_where_there_is_none() -> None:
    update, _ = planted(3, 2)
    with pytest.raises(StudyError, match="'bias_corrected' reads the bias of the last layer"):
        labels.infer(update, 1, "bias_corrected", UNBIASED)


@pytest.mark.parametrize("images", [1, 3])
def test_a_bias_without_an_update_tells_as_little_as_none(images: int) -> None:
    update = update_of([7, 2, 5][:images])
    weight = {"body.head.weight": update["body.head.weight"]}
    head = Head("body.head.weight", "body.head.bias")
    guessed = labels.infer(weight, images, head=head)
    assert torch.equal(guessed, labels.infer(weight, images, head=Head("body.head.weight")))
    assert guessed.tolist() == [sorted([7, 2, 5][:images])]
    with pytest.raises(StudyError, match=r"reads the update of 'head\.bias', which is not in"):
        labels.infer(weight, images, "bias_corrected", head)


def test_labels_of_an_update_without_its_head_are_refused_in_a_sentence() -> None:
    update, _ = planted(3, 2)
    with pytest.raises(StudyError, match="update of 'w', which is not matched here"):
        labels.infer({"b": update["b"], "other": update["w"]}, 1, "row_sum", HEAD)
