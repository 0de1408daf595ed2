"""Images that are too few or of the wrong side are refused where the study is read, not in the middle of a job."""

from __future__ import annotations

from typing import Any

import pytest

from gradsiege import catalogue
from gradsiege.errors import StudyError
from gradsiege.study import parse

Raw = dict[str, Any]


def changed(raw: Raw, **sections: Any) -> Raw:
    raw["datasets"][0]["counts"] |= sections.pop("counts", {})
    raw["datasets"][0] |= sections.pop("dataset", {})
    return raw | sections


@pytest.mark.parametrize("partition", ["iid", "dirichlet"])
def test_every_client_needs_an_image(tiny_raw: Raw, partition: str) -> None:
    tiny_raw["federation"] |= {"clients": 48, "partition": partition}
    parse(tiny_raw)
    tiny_raw["federation"]["clients"] = 49
    with pytest.raises(
        StudyError, match=r"federation\.clients: 49 clients cannot share the 48 images"
    ):
        parse(tiny_raw)


FEDERATION = [
    ({"milestones": [2, 1]}, "federation: milestones must rise, not [2, 1]"),
    ({"milestones": [1, 1]}, "federation: milestones must rise, not [1, 1]"),
    ({"milestones": [3]}, "milestones must be below rounds (3), not 3"),
    ({"early_round": 3}, "early_round must be smaller than rounds"),
    ({"clients_per_round": 5}, "clients_per_round is larger than clients: 5 of 4"),
    ({"partition": "sizes", "client_images": [20, 20, 20, 20]}, "counts.train is only 48"),
]


@pytest.mark.parametrize(("change", "message"), FEDERATION)
def test_a_federation_that_contradicts_itself(tiny_raw: Raw, change: Raw, message: str) -> None:
    tiny_raw["federation"] |= change
    with pytest.raises(StudyError) as caught:
        parse(tiny_raw)
    assert message in str(caught.value)


def test_a_batch_is_at_most_the_images_of_the_client(tiny_raw: Raw) -> None:
    tiny_raw["protocols"] = [{"name": "fedavg", "images": 2, "batch_size": 2}]
    parse(tiny_raw)
    tiny_raw["protocols"][0]["batch_size"] = 3
    with pytest.raises(
        StudyError, match=r"protocols\.fedavg: batch_size must be at most images \(2\), not 3"
    ):
        parse(tiny_raw)


SIDES = [
    ({"name": "lenet"}, 18, "lenet needs a size that is a multiple of 4, not 18 px"),
    ({"name": "vgg11"}, 16, "vgg11 needs images of at least 32 px, not 16"),
    ({"name": "vit_small", "parameters": {"patch": 5}}, 16, "multiple of 5, not 16 px"),
]


@pytest.mark.parametrize(("model", "size", "message"), SIDES)
def test_a_side_that_a_model_cannot_work_on(
    tiny_raw: Raw, model: Raw, size: int, message: str
) -> None:
    raw = changed(tiny_raw, models=[model], dataset={"size": size}, attacks=tiny_raw["attacks"][:1])
    with pytest.raises(StudyError, match=message):
        parse(raw)


def test_a_pair_that_never_meets_may_be_unfit(tiny_raw: Raw) -> None:
    raw = changed(tiny_raw, models=["lenet", "vgg11"])
    with pytest.raises(StudyError, match="vgg11 needs images"):
        parse(raw)
    raw["datasets"] = [*raw["datasets"], {**raw["datasets"][0], "id": "large", "size": 32}]
    apart = {"name": "vgg11", "only": {"dataset": "large"}}
    parse(raw | {"models": ["lenet", apart]})
    with pytest.raises(StudyError, match="vgg11 needs images"):
        parse(raw | {"models": ["lenet", apart | {"only": {"defense": "none"}}]})


def test_a_side_that_a_prior_cannot_work_on(tiny_raw: Raw) -> None:
    raw = changed(tiny_raw, dataset={"size": 20})
    with pytest.raises(
        StudyError, match=r"priors\.autoencoder: autoencoder needs .* multiple of 8, not 20 px"
    ):
        parse(raw)
    raw["attacks"] = raw["attacks"][:1]
    parse(raw)  # no attack reads it, so that it is not trained


def test_a_prior_with_too_few_images(tiny_raw: Raw) -> None:
    parse(changed(tiny_raw, counts={"aux": 2}))
    with pytest.raises(
        StudyError,
        match=r"priors\.autoencoder: 1 images are too few, at least 2 .* counts\.aux \(1\)",
    ):
        parse(changed(tiny_raw, counts={"aux": 1}))
    tiny_raw["priors"][0]["parameters"] |= {"fraction": 0.01}
    with pytest.raises(StudyError, match=r"0 images are too few.*or 'fraction' \(0\.01\)"):
        parse(changed(tiny_raw, counts={"aux": 40}))


def test_a_shadow_generator_with_one_image(tiny_raw: Raw) -> None:
    raw = changed(tiny_raw, counts={"public": 1})
    parse(raw)
    raw["defenses"].append("shadow")
    with pytest.raises(
        StudyError, match=r"defenses\.shadow needs at least 2 images in counts\.public, not 1"
    ):
        parse(raw)


@pytest.mark.parametrize("section", ["defenses", "attacks"])
@pytest.mark.parametrize("values", [[1, 1.0], ["1e-3", 0.001], [2, 2]])
def test_a_sweep_holds_every_value_once(tiny_raw: Raw, section: str, values: list[Any]) -> None:
    name, key = {"defenses": ("gaussian", "sigma"), "attacks": ("dlg", "learning_rate")}[section]
    tiny_raw[section].append({"name": name, "id": "mine", "iterations": 2, "sweep": {key: values}})
    if section == "defenses":
        del tiny_raw[section][-1]["iterations"]
    with pytest.raises(StudyError, match=rf"{section}\.mine\.sweep\.{key}: .* stands twice"):
        parse(tiny_raw)


def test_ids_that_differ_in_case_alone(tiny_raw: Raw) -> None:
    tiny_raw["defenses"] = ["none", {"name": "gaussian", "id": "None"}]
    with pytest.raises(StudyError, match="'none' and 'None' differ in case alone"):
        parse(tiny_raw)


def test_an_id_must_fit_into_a_file_name(tiny_raw: Raw) -> None:
    tiny_raw["defenses"] = [{"name": "gaussian", "id": "a" * 81}]
    with pytest.raises(StudyError, match="at most 80 characters"):
        parse(tiny_raw)


@pytest.mark.parametrize("name", list(catalogue.entries("models")))
def test_every_declared_side_is_what_the_network_needs(name: str) -> None:
    import torch

    from gradsiege.models import ModelSpec, build

    narrow = {"lenet": {"channels": 2}, "densenet121": {"growth": 2}}.get(name, {"width": 3})
    entry = catalogue.entries("models")[name]
    chosen = entry.validate(narrow, "here")
    for size in (16, 18, 20, 21, 32, 33):
        spec = ModelSpec(name, chosen, 3, 1, size)
        if entry.refused_side(size, chosen):
            with pytest.raises((ValueError, RuntimeError)):
                build(spec)(torch.zeros(1, 1, size, size))
        else:
            assert build(spec)(torch.zeros(1, 1, size, size)).shape == (1, 3)
