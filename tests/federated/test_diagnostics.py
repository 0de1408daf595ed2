"""What a defense did to a model: maps against an independent library, channels and spectra of planted noise."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from gradsiege import artifacts, defenses
from gradsiege.defenses.base import Client
from gradsiege.defenses.grad_cam import channel_coefficients, class_activation_map, convolutions
from gradsiege.defenses.tip.ranking import top_channels
from gradsiege.errors import ArtifactError, StudyError
from gradsiege.federated import diagnostics as module
from gradsiege.federated.client import train_locally, upload
from gradsiege.models import ModelSpec, build
from gradsiege.pipeline.cells import cells
from gradsiege.protocol.local_update import LocalTraining, Tensors, split_state
from gradsiege.protocol.observation import load_observation
from gradsiege.study import load, parse

torch.set_num_threads(1)


def network(name: str = "resnet18") -> nn.Module:
    spec = ModelSpec(name, {"width": 8}, 10, 3, 16)
    return build(spec, torch.Generator().manual_seed(5))


def image() -> Tensor:
    return torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))


def client(rate: float = 0.01) -> Client:
    model = network()
    training = LocalTraining("fedsgd", 1, 1, 1, rate, "eval")
    noise = torch.Generator().manual_seed(0)
    return Client(model, *split_state(model), image()[None], torch.tensor([4]), training, noise)


def explained(name: str, **parameters: Any) -> Tensors:
    party, defense = client(), defenses.build(name, parameters)
    before = train_locally(party, defense)
    return module.explain(party, before, upload(*before, party, defense))


@pytest.mark.parametrize("name", ["resnet18", "convnet"])
@pytest.mark.parametrize("label", [3, 4])
def test_the_map_is_that_of_an_independent_library(name: str, label: int) -> None:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = network(name)
    found = class_activation_map(model, image(), label)
    last = list(convolutions(model).values())[-1]
    with GradCAM(model=model, target_layers=[last]) as cam:
        expected = cam(image()[None], [ClassifierOutputTarget(label)])[0]
    torch.testing.assert_close(found, torch.from_numpy(expected), atol=1e-4, rtol=0)
    # Where no evidence is positive the map is blank: class 4 of this network.
    assert (found.max() > 0) == ((name, label) != ("resnet18", 4))


def test_without_a_defense_nothing_changes() -> None:
    found = explained("none")
    for name in ("map", "deletion", "insertion", "deletion_area", "insertion_area"):
        assert torch.equal(found[f"{name}.before"], found[f"{name}.after"])
    layers = list(convolutions(network()))
    assert not any(found[f"change.{layer}"].any() for layer in layers)
    for layer in layers:
        assert torch.equal(found[f"spectrum.before.{layer}"], found[f"spectrum.after.{layer}"])


def test_curves_begin_and_end_where_the_image_does() -> None:
    model = network()
    found = module.faithfulness(model, image(), 4, torch.rand(16, 16))
    assert found["deletion"].shape == found["insertion"].shape == (module.STEPS + 1,)
    whole = model(image()[None]).softmax(1)[0, 4]
    torch.testing.assert_close(found["deletion"][0], whole)
    torch.testing.assert_close(found["insertion"][-1], whole)


def test_areas_belong_to_the_curves_and_differ_between_the_moments() -> None:
    found = explained("tip_dp", epsilon=0.1)
    for curve in ("deletion", "insertion"):
        for moment in ("before", "after"):
            values = found[f"{curve}.{moment}"].double()
            area = float((values[:-1] + values[1:]).sum() / 2 / module.STEPS)
            assert found[f"{curve}_area.{moment}"].item() == pytest.approx(area)
        assert found[f"{curve}_area.before"] != found[f"{curve}_area.after"]


def test_tip_is_seen_on_its_top_channels_and_above_their_zero_frequency() -> None:
    found = explained("tip", epsilon=0.01, ratio=0.25)
    party = client()
    before = train_locally(party, defenses.build("tip", {}))
    trained = network()
    trained.load_state_dict({**party.local_parameters(before[0]), **before[1]})
    alphas = channel_coefficients(trained, image(), 4)
    for layer, part in convolutions(trained).items():
        torch.testing.assert_close(found[f"coefficient.{layer}"], alphas[layer])
        noised = found[f"change.{layer}"].nonzero().flatten().tolist()
        wide = part.kernel_size[0] > 1
        assert noised == (sorted(top_channels(alphas[layer], 0.25).tolist()) if wide else []), layer
        old, new = found[f"spectrum.before.{layer}"], found[f"spectrum.after.{layer}"]
        if wide:
            torch.testing.assert_close(new[1, 1], old[1, 1], rtol=1e-3, atol=1e-6)
            new[1, 1] = old[1, 1] + 1
            assert (new > old).all(), layer


def test_noise_is_measured_in_weight_units() -> None:
    found = explained("tip_dp", noise_norm=0.5)
    layers = list(convolutions(network()))
    energy = sum(float(found[f"change.{layer}"].square().sum()) for layer in layers)
    weights = sum(part.weight.numel() for part in convolutions(network()).values())
    everything = sum(value.numel() for value in network().parameters())
    assert energy == pytest.approx(0.25 * weights / everything, rel=0.05)


def test_a_spectrum_of_a_planted_wave_has_its_power_at_its_frequency() -> None:
    wave = torch.cos(2 * torch.pi * torch.arange(5) / 5).expand(5, 5)
    power = module.spectrum(wave.view(1, 1, 5, 5).repeat(2, 3, 1, 1))
    # Rows are vertical frequencies, zero in the middle; a cosine of one cycle splits in two halves of 12.5^2.
    expected = torch.zeros(5, 5)
    expected[2, 1] = expected[2, 3] = 12.5**2
    torch.testing.assert_close(power, expected, atol=1e-3, rtol=1e-4)


def test_observe_writes_what_was_asked_for_and_no_attack_can_take_it(
    tiny_raw: dict[str, Any], tmp_path: Path, verb: Any
) -> None:
    tiny_raw |= {"explained": 1, "training_stages": ["untrained"], "defenses": ["tip"]}
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(tiny_raw))
    study = load(file)
    for stage in ("fetch", "federate", "observe"):
        for cell in cells(study)[stage]:
            assert verb(stage, cell.key, "--study", file, "--root", tmp_path) == 0
    path = cells(study)["observe"][0].folder(study, tmp_path) / "explanation.safetensors"
    tensors, _ = artifacts.read_tensors(path, module.EXPLANATION)
    assert tensors["map.after"].shape == (1, 16, 16)
    assert tensors["change.body.features.2"].shape == (1, 4)
    with pytest.raises(ArtifactError, match="holds 'explanation', but 'observation' is needed"):
        load_observation(path)


def test_a_study_that_asks_for_none_has_an_empty_file(finished_study: Any) -> None:
    study, root = finished_study
    path = cells(study)["observe"][0].folder(study, root) / "explanation.safetensors"
    assert artifacts.read_tensors(path, module.EXPLANATION) == ({}, {})


def test_more_explanations_than_victims_are_refused(tiny_raw: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match="explained: 3 victims cannot be explained of 2"):
        parse(tiny_raw | {"explained": 3})
