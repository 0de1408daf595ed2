"""The variational bottleneck: shapes, the exact mean path, draws that last one block, and its divergence."""

import pytest
import torch
from torch import distributions

from gradsiege import catalogue
from gradsiege.models import ModelSpec, build
from gradsiege.models.bottleneck import divergence, sampled

torch.set_num_threads(1)


def spec(name: str, units: int, **changes: object) -> ModelSpec:
    entry = catalogue.entries("models")[name]
    return ModelSpec(name, entry.validate(dict(changes), "test"), 10, 3, 32, units)


SMALL = {"convnet": {"width": 4}, "lenet": {}, "resnet18": {"width": 4}, "vit_small": {"depth": 1}}


@pytest.mark.parametrize("name", SMALL)
def test_every_kind_of_model_takes_a_bottleneck_and_still_ends_in_its_head(name: str) -> None:
    plain = build(spec(name, 0, **SMALL[name]), torch.Generator().manual_seed(1))
    wrapped = build(spec(name, 6, **SMALL[name]), torch.Generator().manual_seed(1))
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert wrapped(x).shape == plain(x).shape == (2, 10)
    shapes = {key: value.shape for key, value in wrapped.named_parameters()}
    features = plain.state_dict()["body.head.weight"].shape[1]
    assert shapes["body.head.bottleneck.encoder.weight"] == (12, features)
    assert shapes["body.head.bottleneck.decoder.weight"] == (features, 6)
    assert [key for key in shapes if key.endswith(".weight")][-1] == "body.head.head.weight"


@pytest.mark.parametrize("name", ["convnet", "lenet"])
def test_all_other_weights_are_those_of_the_model_without_it(name: str) -> None:
    plain = build(spec(name, 0, **SMALL[name]), torch.Generator().manual_seed(1)).state_dict()
    wrapped = build(spec(name, 6, **SMALL[name]), torch.Generator().manual_seed(1)).state_dict()
    for key, value in plain.items():
        assert torch.equal(wrapped[key.replace("head.", "head.head.")], value), key


def test_without_a_draw_the_code_is_its_mean() -> None:
    model = build(spec("lenet", 6)).double()
    weights = {key.removeprefix("body."): value for key, value in model.state_dict().items()}
    x = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    features = model.body.features(model.normalisation(x)).flatten(1)
    encoder = weights["head.bottleneck.encoder.weight"], weights["head.bottleneck.encoder.bias"]
    mean = features @ encoder[0][:6].T + encoder[1][:6]
    decoder = weights["head.bottleneck.decoder.weight"], weights["head.bottleneck.decoder.bias"]
    decoded = mean @ decoder[0].T + decoder[1]
    expected = decoded @ weights["head.head.weight"].T + weights["head.head.bias"]
    torch.testing.assert_close(model(x), expected)
    assert torch.equal(model(x), model(x))


def test_a_draw_is_mean_plus_deviation_times_noise_and_lasts_one_block() -> None:
    model = build(spec("lenet", 6))
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    noise = torch.randn(3, 6, generator=torch.Generator().manual_seed(3))
    before = model(x)
    with sampled(model, torch.zeros(3, 6)):
        torch.testing.assert_close(model(x), before)
    with sampled(model, noise) as codes:
        drawn = model(x)
    ((mean, deviation),) = codes
    assert (deviation > 0).all()
    decoder = model.get_submodule("body.head.bottleneck.decoder")
    head = model.get_submodule("body.head.head")
    torch.testing.assert_close(drawn, head(decoder(mean + deviation * noise)))
    assert torch.equal(model(x), before)


def test_sampling_without_a_bottleneck_says_what_is_missing() -> None:
    with (
        pytest.raises(ValueError, match="one bottleneck, not 0: build it from a spec"),
        sampled(build(spec("lenet", 0)), torch.zeros(1, 1)),
    ):
        pass


def test_divergence_equals_the_closed_form_of_pytorch() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    deviation = torch.rand(5, 7, generator=generator, dtype=torch.float64) + 0.1
    standard = distributions.Normal(torch.zeros(()).double(), torch.ones(()).double())
    nats = distributions.kl_divergence(distributions.Normal(mean, deviation), standard)
    expected = nats.sum(1).mean() / torch.log(torch.tensor(2.0, dtype=torch.float64))
    torch.testing.assert_close(divergence(mean, deviation), expected)


def test_building_draws_nothing_from_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    build(spec("lenet", 6))
    assert torch.equal(torch.random.get_rng_state(), before)
