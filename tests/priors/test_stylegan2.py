"""StyleGAN2: layers against explicit formulas, names and true shapes, second derivatives."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy import signal
from tiny_stylegan2 import made_up, published_shapes

from gradsiege.attacks.spaces.features import feature_shapes
from gradsiege.priors import published_weights
from gradsiege.priors.stylegan2 import StyleGAN2, StyleGAN2Network, channels_of
from gradsiege.priors.stylegan2.layers import Modulated, upsample_filter
from gradsiege.priors.stylegan2.weights import converted, mapped

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> StyleGAN2Network:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(made_up(), path)
    images = torch.zeros(1, 3, 32, 32)
    random = torch.Generator().manual_seed(0)
    weights, card = StyleGAN2(str(path)).train(images, torch.zeros(1), random)
    assert card["sha256"] == published_weights.read(path)[1]
    return StyleGAN2.load(weights)


def latents(network: StyleGAN2Network, count: int = 1) -> torch.Tensor:
    drawn = torch.randn(count, network.latent, generator=torch.Generator().manual_seed(2))
    return network.prepared(drawn)


@pytest.mark.parametrize("up", [1, 2])
def test_the_filter_is_scipys(up: int) -> None:
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    taps = np.array([1.0, 3.0, 3.0, 1.0]) / 4
    pad = (2, 1) if up == 2 else (1, 1)
    made = upsample_filter(x, pad, up)
    for image, expected in zip(made.flatten(0, 1).numpy(), x.flatten(0, 1).numpy(), strict=True):
        for axis in (0, 1):
            spread = signal.upfirdn([1.0], expected, up=up, axis=axis)
            width = [(0, 0), (0, 0)]
            width[axis] = (pad[0], pad[1] + up * expected.shape[axis] - spread.shape[axis])
            expected = signal.convolve(
                np.pad(spread, width), np.expand_dims(taps, 1 - axis), mode="valid"
            )
        np.testing.assert_allclose(image, expected, atol=1e-12)


@pytest.mark.parametrize("doubles", [False, True])
def test_modulation_is_a_convolution_with_weights_of_its_own_for_every_image(doubles: bool) -> None:
    random = torch.Generator().manual_seed(0)
    layer = Modulated(3, 4, 3, 5, True, doubles).double()
    for value in layer.parameters():
        value.data = torch.randn(value.shape, generator=random, dtype=torch.float64)
    h, codes = (
        torch.randn(*shape, generator=random, dtype=torch.float64)
        for shape in ((2, 3, 4, 4), (2, 5))
    )
    made = layer(h, codes)
    for number in range(2):
        scale = layer.style.weight @ codes[number] + layer.style.bias
        weight = layer.weight * scale[None, :, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if doubles:
            spread = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
            spread[:, :, ::2, ::2] = h[number]
            # Of a transposed convolution the kernel is turned round.
            full = F.conv2d(F.pad(spread, (2, 1, 2, 1)), weight.flip(2, 3))
            expected = upsample_filter(full, (1, 1))
        else:
            expected = F.conv2d(h[number : number + 1], weight, padding=1)
        torch.testing.assert_close(made[number : number + 1], expected)


def test_every_tensor_of_the_true_shapes_has_its_place() -> None:
    with torch.device("meta"):
        shapes = published_shapes(1024, 512, 1.0)
        published = {name: torch.empty(shape) for name, shape in shapes.items()}
        network = StyleGAN2Network(1024, channels_of(1024), 512, 64)
        assert network.latent == 18 * 512 + 656
        sizes = feature_shapes(network)
        weights = converted(published, torch.Generator())
    published_weights.demand(
        weights, {k: v.shape for k, v in network.state_dict().items()}, "StyleGAN2"
    )
    assert sizes[0] == (512, 4, 4)
    assert sizes[3] == (512, 32, 32)
    assert sizes[7] == (64, 512, 512)
    assert len(sizes) == len(network.radii) == 8


def test_weights_are_scaled_as_they_are_at_run_time(network: StyleGAN2Network) -> None:
    published = made_up()
    weight = published["convs.2.conv.weight"]
    scaled = weight[0] / math.sqrt(weight.shape[2] * 9)
    assert torch.equal(network.stages[1].coarse.convolution.weight, scaled)
    # The image of one code everywhere, step by step from the published tensors up to the first feature.
    z = latents(network)
    codes, noises = network.parts(z)
    style = F.linear(codes[:, 0], published["conv1.conv.modulation.weight"] / math.sqrt(6))
    style = (style + published["conv1.conv.modulation.bias"])[0]
    kernel = published["conv1.conv.weight"][0] / math.sqrt(published["input.input"].shape[1] * 9)
    kernel = kernel * style[None, :, None, None]
    kernel = kernel * torch.rsqrt(kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8)
    h = F.conv2d(published["input.input"], kernel, padding=1)
    h = h + published["conv1.noise.weight"] * noises[0]
    h = F.leaky_relu(h + published["conv1.activate.bias"].view(1, -1, 1, 1), 0.2) * math.sqrt(2)
    torch.testing.assert_close(network.start(z, z)[:, :-3], h, atol=1e-5, rtol=1e-4)


def test_codes_are_drawn_like_those_of_the_mapping_network(network: StyleGAN2Network) -> None:
    drawn = network.prepared(
        torch.randn(400, network.latent, generator=torch.Generator().manual_seed(3))
    )
    codes = drawn[:, : network.codes * 6].reshape(-1, 6)
    real = mapped(made_up(), torch.randn(4000, 6, generator=torch.Generator().manual_seed(4)))
    torch.testing.assert_close(codes.mean(0), real.mean(0), atol=0.15, rtol=0.2)
    torch.testing.assert_close(codes.std(0), real.std(0), atol=0.1, rtol=0.25)


def test_stages_compose_and_are_twice_differentiable(network: StyleGAN2Network) -> None:
    exact = StyleGAN2.load(
        {**{k: v.double() for k, v in network.state_dict().items()}, "size": torch.tensor(8)}
    )
    z = latents(network).double()
    features = exact.features(z, z)
    for k, feature in enumerate(features[:-1]):
        assert torch.equal(exact.finish(k, feature, z), features[-1])
    direction = torch.randn_like(z)

    def along(t: torch.Tensor) -> torch.Tensor:
        moved = z + t * direction
        return exact.finish(0, exact.start(moved, moved), moved).mean((2, 3))

    t = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(along, (t,))
    assert torch.autograd.gradgradcheck(along, (t,))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(Exception, match="not the weights of StyleGAN2"):
        StyleGAN2(str(path)).train(torch.zeros(1, 3, 32, 32), torch.zeros(1), torch.Generator())
