"""Networks, weights and pictures as users have them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_classifiers import small

from gradsiege.auditing.inputs.arrays import named_arrays, read_arrays
from gradsiege.auditing.inputs.defenses import defense_named
from gradsiege.auditing.inputs.fit import outputs_of
from gradsiege.auditing.inputs.labels import in_words, numbered_together
from gradsiege.auditing.inputs.networks import channels_of, network_named
from gradsiege.auditing.inputs.normalisation import IMAGENET, of_library
from gradsiege.auditing.inputs.pictures import read_pictures, shaped
from gradsiege.auditing.inputs.request import Request, audited, networks
from gradsiege.auditing.inputs.selection import turns
from gradsiege.auditing.inputs.weights import put_into, read_tensors
from gradsiege.errors import ArtifactError, ModelError, UsageError


def picture(path: Path, colour: tuple[int, ...] | int, size: tuple[int, int] = (8, 6)) -> None:
    """Write a picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(path)


def test_subfolders_are_classes_and_pictures_come_in_turn(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "set" / "cat" / f"{number}.png", (250, 0, number))
    picture(tmp_path / "set" / "dog" / "0.png", (0, 250, 0))
    (tmp_path / "set" / ".hidden").mkdir()
    read = read_pictures(tmp_path / "set", 2, None, None)
    assert read.classes == ("cat", "dog")
    assert read.labels is not None
    assert sorted(read.labels.tolist()) == [0, 1]
    assert read.images.shape == (2, 3, 6, 8)
    red = read.images[read.labels == 0][0]
    assert red[0].min() == pytest.approx(250 / 255)


def test_a_flat_folder_has_no_labels_and_is_cut_to_squares(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png", 10)
    picture(tmp_path / "set" / "b.jpg", 200, (12, 12))
    with pytest.raises(UsageError, match="give --size"):
        read_pictures(tmp_path / "set", 9, None, None)
    read = read_pictures(tmp_path / "set", 9, 6, None)
    assert read.labels is None
    assert read.images.shape == (2, 1, 6, 6)
    colour = shaped(read, None, 3)
    assert colour.images.shape == (2, 3, 6, 6)
    assert any("grey" in remark for remark in colour.remarks)


def test_a_table_names_pictures_labels_and_groups(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png", (1, 2, 3))
    (tmp_path / "list.csv").write_text("path,label,group\na.png,7,x\nb.png,3,y\nc.png,3,y\n")
    read = read_pictures(tmp_path / "list.csv", 9, None, None)
    assert read.labels is not None
    assert sorted(read.labels.tolist()) == [3, 3, 7]
    assert read.classes == ()
    assert read.groups is not None
    assert len(set(read.groups.tolist())) == 2


def test_colour_becomes_luminance_for_a_grey_network() -> None:
    from gradsiege.auditing.inputs.selection import Pictures

    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 1
    assert shaped(Pictures(red, None), None, 1).images.flatten().tolist() == pytest.approx(
        [0.299] * 4
    )


@pytest.mark.parametrize("layout", ["first", "last", "grey"])
def test_arrays_may_have_their_channels_first_or_last(tmp_path: Path, layout: str) -> None:
    shape = {"first": (4, 3, 8, 8), "last": (4, 8, 8, 3), "grey": (4, 8, 8)}[layout]
    np.savez(tmp_path / "x.npz", images=np.full(shape, 51, np.uint8), labels=np.arange(4)[:, None])
    read = read_arrays(tmp_path / "x.npz", 9, "--images")
    assert read.images.shape == (4, 1 if layout == "grey" else 3, 8, 8)
    assert read.images.unique().tolist() == pytest.approx([0.2])
    assert read.labels is not None
    assert sorted(read.labels.tolist()) == [0, 1, 2, 3]


def test_a_file_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "x.npz", images=np.zeros((10, 100, 100), np.uint8))
    monkeypatch.setattr("gradsiege.auditing.inputs.arrays.MOST_BYTES", 1000)
    with pytest.raises(ArtifactError, match="would unpack"):
        named_arrays(tmp_path / "x.npz", "--images")


def test_the_choice_is_the_same_on_every_call_and_even() -> None:
    labels = np.repeat([0, 1, 2], [50, 5, 45])
    first, second = turns(labels, 12), turns(labels, 12)
    assert first.tolist() == second.tolist()
    assert np.bincount(labels[first]).tolist() == [4, 4, 4]


@pytest.mark.parametrize("wrapper", ["", "module.", "_module.", "_orig_mod."])
def test_weights_are_loaded_from_what_training_scripts_save(tmp_path: Path, wrapper: str) -> None:
    wanted = {name: torch.randn_like(value) for name, value in small().state_dict().items()}
    named = {f"{wrapper}{name}": value for name, value in wanted.items()}
    torch.save({"state_dict": named, "epoch": 3}, tmp_path / "w.pt")
    network = small()
    put_into(network, read_tensors(tmp_path / "w.pt", "--weights"), "w.pt", "mine:net")
    for name, value in network.state_dict().items():
        assert torch.equal(value, wanted[name])


def test_the_number_of_classes_is_read_from_the_weights() -> None:
    weights = network_named("torchvision:resnet18", 7, (3, 32, 32)).state_dict()
    network = network_named("torchvision:resnet18", None, (3, 32, 32), weights)
    assert network.fc.out_features == 7
    put_into(network, weights, "w", "torchvision:resnet18")
    again = network_named("torchvision:resnet18", 7, (3, 32, 32)).state_dict()
    assert torch.equal(again["fc.weight"], weights["fc.weight"])


def test_a_number_of_classes_that_the_weights_do_not_have_is_refused() -> None:
    weights = network_named("torchvision:squeezenet1_1", 7, (3, 32, 32)).state_dict()
    weights |= network_named("lenet", 7, (3, 32, 32)).state_dict()
    with pytest.raises(UsageError, match="--classes is 5, and the weights are those of 7 classes"):
        network_named("lenet", 5, (3, 32, 32), weights)


def test_weights_for_other_pictures_name_their_size(tmp_path: Path) -> None:
    torch.save(network_named("lenet", 5, (3, 28, 28)).state_dict(), tmp_path / "w.pt")
    request = Request(model="lenet", weights=(tmp_path / "w.pt",))
    with pytest.raises(ModelError, match=r"other pictures than 16 x 16 pixels; give --size 28"):
        networks(request, None, (3, 16, 16))
    assert list(networks(request, None, (3, 28, 28)).networks) == ["w"]


def test_one_tensor_is_one_tensor() -> None:
    """Counts of one, as of several, are grammatical."""
    weights = dict(small().state_dict())
    weights["4.bias"] = weights.pop("0.bias")
    words = (
        "w are not weights of mine:net: 1 of its tensors is missing, such as '0.bias', and 1 tensor does not belong to it, such as "
        "'4.bias'; change --model or --weights"
    )
    with pytest.raises(ModelError, match=words):
        put_into(small(), weights, "w", "mine:net")


def test_weights_of_another_network_are_told_by_the_names_that_the_user_wrote(
    tmp_path: Path,
) -> None:
    torch.save(network_named("mlp", 5, (3, 16, 16)).state_dict(), tmp_path / "w.pt")
    request = Request(model="lenet", weights=(tmp_path / "w.pt",))
    words = r"w\.pt are not weights of lenet: \d+ of its tensors are missing, such as 'body\..*', and \d+ tensors do not belong to it"
    with pytest.raises(ModelError, match=words):
        networks(request, None, (3, 16, 16))


@pytest.mark.parametrize(
    ("model", "shape"),
    [("lenet", (1, 7, 7)), ("torchvision:vgg11", (3, 9, 9))],
)
def test_a_size_that_a_network_does_not_take_is_named_with_one_that_it_takes(
    model: str, shape: tuple[int, int, int]
) -> None:
    words = rf"{model} does not take pictures of {shape[1]} x {shape[1]} pixels; give --size (\d+)"
    with pytest.raises(ModelError, match=words) as refused:
        outputs_of(network_named(model, 5, shape).eval(), shape, model, 5)
    found = re.search(words, str(refused.value))
    assert found is not None
    square = (shape[0], int(found[1]), int(found[1]))
    assert outputs_of(network_named(model, 5, square).eval(), square, model, 5) == 5


def test_pictures_of_which_nothing_is_left_are_refused() -> None:
    with pytest.raises(
        ModelError,
        match=r"lenet cannot be built for pictures of 2 x 2 pixels .*; give a larger --size",
    ):
        network_named("lenet", 5, (3, 2, 2))


@pytest.mark.parametrize("labelled", [True, False])
def test_pictures_that_are_not_read_are_counted(tmp_path: Path, labelled: bool) -> None:
    labels = {"labels": np.arange(1200) % 3} if labelled else {}
    np.savez(tmp_path / "x.npz", images=np.zeros((1200, 2, 2), np.uint8), **labels)
    for number in range(3):
        picture(tmp_path / "set" / ("cat" if labelled else "") / f"{number}.png", number)
    how = "class after class in turn" if labelled else "chosen by a fixed seed"
    arrays = read_pictures(tmp_path / "x.npz", 700, None, None)
    assert f"700 of 1,200 pictures were read, {how}" in arrays.remarks
    assert (
        f"2 of 3 pictures were read, {how}"
        in read_pictures(tmp_path / "set", 2, None, None).remarks
    )
    assert not any(
        "were read" in one for one in read_pictures(tmp_path / "set", 3, None, None).remarks
    )


def test_classes_without_a_picture_are_told_where_the_labels_decide_on_them(tmp_path: Path) -> None:
    labels = np.array([0, 1, 2, 99, 1])
    np.savez(tmp_path / "slip.npz", images=np.zeros((5, 8, 8), np.uint8), labels=labels)
    np.savez(tmp_path / "public.npz", images=np.ones((5, 8, 8), np.uint8), labels=labels % 3)

    def told(model: str = "lenet", **options: Any) -> str:
        request = Request(model=model, aux=tmp_path / "public.npz", **options)
        return " ".join(audited(request, tmp_path / "slip.npz")["remarks"])

    assert (
        "the network has 100 classes, by the largest label, 99 (picture 3); 96 of them have no picture: give --classes if that "
        "label is a slip"
    ) in told()
    assert "the network has 100 classes" in told("lenet:channels=4")
    assert "no picture" not in told(classes=100)
    with pytest.raises(ModelError, match="picture 3 has the label 99"):
        told(classes=3)


def test_text_is_numbered_in_stated_order_and_numbers_stay(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png", (1, 2, 3))
    (tmp_path / "numbers.csv").write_text("path,label\na.png,10\nb.png,3\nc.png,4\n")
    (tmp_path / "text.csv").write_text("path,label\na.png,10\nb.png,eel\nc.png,cat\n")
    numbers = read_pictures(tmp_path / "numbers.csv", 9, None, None)
    text = read_pictures(tmp_path / "text.csv", 9, None, None)
    assert numbers.labels is not None
    assert text.labels is not None
    by_name = dict(zip(numbers.names, numbers.labels.tolist(), strict=True))
    assert by_name == {"a.png": 10, "b.png": 3, "c.png": 4}
    assert dict(zip(text.names, text.labels.tolist(), strict=True)) == {
        "a.png": 0,
        "b.png": 2,
        "c.png": 1,
    }
    assert in_words(text.classes).endswith("0 is 10, 1 is cat, 2 is eel")


def test_one_name_is_one_class_in_both_sources(tmp_path: Path) -> None:
    """The private pictures lack the first class, the attacker's the last one: either alphabet alone would shift numbers."""
    for source, kinds in (("images", "dog eel"), ("aux", "cat dog")):
        for kind in kinds.split():
            picture(tmp_path / source / kind / "0.png", (1, 2, 3))
    (tmp_path / "numbers.csv").write_text("path,label\nimages/dog/0.png,1\nimages/eel/0.png,0\n")
    private, public = (read_pictures(tmp_path / name, 9, None, None) for name in ("images", "aux"))
    both = numbered_together(private, public)
    by_name = {
        Path(name).parent.name: label
        for one in both
        if one.labels is not None
        for name, label in zip(one.names, one.labels.tolist(), strict=True)
    }
    assert by_name == {"cat": 0, "dog": 1, "eel": 2}
    assert {one.classes for one in both} == {("cat", "dog", "eel")}
    numbers = read_pictures(tmp_path / "numbers.csv", 9, None, None)
    assert numbered_together(numbers, public) == (numbers, public), "numbers stay"


def test_drawing_a_network_leaves_the_global_random_state() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    network_named("torchvision:squeezenet1_1", 4, (3, 32, 32))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_grey_network_is_recognised() -> None:
    assert channels_of(network_named("lenet", 10, (1, 28, 28))) == 1


def test_the_library_says_how_it_normalises() -> None:
    assert of_library("torchvision:resnet18", small(), 3) == IMAGENET
    assert of_library("lenet", small(), 3) is None


def test_an_arm_and_parameters_are_read() -> None:
    tip = defense_named("tip:arm=as_released")
    assert tip.disclosure()["arm"] == "as_released"


def test_trainings_vary_one_thing_at_a_time() -> None:
    request = Request(model="x", batch_sizes=(1, 4), local_steps=(1, 3), learning_rate=0.1)
    shapes = [(one.batch_size, one.steps) for one in request.trainings()]
    assert shapes == [(1, 1), (4, 1), (1, 3)]


def test_a_factory_without_weights_draws_the_same_network_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the same command would be another audit, and a stopped one could not go on."""
    (tmp_path / "drawn_nets.py").write_text(
        "from torch import nn\n\n\ndef small():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 2))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = torch.get_rng_state()
    first, second = (network_named("drawn_nets:small", 2, (3, 2, 2)) for _ in range(2))
    assert torch.equal(first[1].weight, second[1].weight)
    assert torch.equal(torch.get_rng_state(), before)
