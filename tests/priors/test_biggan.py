"""BigGAN-deep: our network against the published computation on the published names, true shapes, second derivatives, GIFD on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from gradsiege.errors import GradSiegeError, MissingError, StudyError
from gradsiege.priors import biggan, published_weights
from gradsiege.priors.biggan import Attention, BigGAN, BigGANNetwork, Block
from gradsiege.priors.biggan.weights import converted

torch.set_num_threads(1)
Tensors = dict[str, torch.Tensor]
# The published configuration of BigGAN-deep-256: doubling, inputs, outputs; attention before block 8.
CONFIGURATION = [
    (0, 16, 16), (1, 16, 16), (0, 16, 16), (1, 16, 8), (0, 8, 8), (1, 8, 8), (0, 8, 8), (1, 8, 4), (0, 4, 4),
    (1, 4, 2), (0, 2, 2), (1, 2, 1),
]  # fmt: skip


def published_shapes(width: int, classes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the PyTorch port's file, written down from its configuration."""
    shapes: dict[str, tuple[int, ...]] = {"embeddings.weight": (128, classes)}

    def normed(name: str, *shape: int, bias: bool) -> None:
        inputs = 1
        for length in shape[1:]:
            inputs *= length
        shapes[f"{name}.weight_orig"] = shape
        shapes[f"{name}.weight_u"], shapes[f"{name}.weight_v"] = (shape[0],), (inputs,)
        if bias:
            shapes[f"{name}.bias"] = (shape[0],)

    normed("generator.gen_z", 4 * 4 * 16 * width, 256, bias=True)
    place = 0
    for number, (_, a, b) in enumerate(CONFIGURATION):
        if number == 8:
            at, c = f"generator.layers.{place}", a * width
            normed(f"{at}.snconv1x1_theta", c // 8, c, 1, 1, bias=False)
            normed(f"{at}.snconv1x1_phi", c // 8, c, 1, 1, bias=False)
            normed(f"{at}.snconv1x1_g", c // 2, c, 1, 1, bias=False)
            normed(f"{at}.snconv1x1_o_conv", c, c // 2, 1, 1, bias=False)
            shapes[f"{at}.gamma"] = (1,)
            place += 1
        at, inputs, inner, outputs = (
            f"generator.layers.{place}",
            a * width,
            a * width // 4,
            b * width,
        )
        place += 1
        sides = [(inner, inputs, 1), (inner, inner, 3), (inner, inner, 3), (outputs, inner, 1)]
        for k, (out, into, side) in enumerate(sides):
            for part in ("scale", "offset"):
                normed(f"{at}.bn_{k}.{part}", into, 256, bias=False)
            for part in ("running_means", "running_vars"):
                shapes[f"{at}.bn_{k}.{part}"] = (51, into)
            normed(f"{at}.conv_{k}", out, into, side, side, bias=True)
    for part in ("running_means", "running_vars"):
        shapes[f"generator.bn.{part}"] = (51, width)
    shapes["generator.bn.weight"] = shapes["generator.bn.bias"] = (width,)
    normed("generator.conv_to_rgb", width, width, 3, 3, bias=True)
    return shapes


def made_up(width: int, classes: int) -> Tensors:
    random = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(shape, generator=random)
        for name, shape in published_shapes(width, classes).items()
    }
    for name in tensors:
        if name.endswith("running_vars"):
            tensors[name] = tensors[name].square() + 0.5
        if name.endswith("_u"):
            # As spectral norm leaves them: a pair of unit vectors near the leading singular ones.
            matrix = tensors[name.replace("_u", "_orig")].flatten(1)
            v = F.normalize(matrix.T @ tensors[name], dim=0)
            tensors[name.replace("_u", "_v")], tensors[name] = v, F.normalize(matrix @ v, dim=0)
    return tensors


def reference(published: Tensors, z: torch.Tensor, label: int) -> torch.Tensor:
    """The published computation, straight from the published tensors: images of 256 pixels in [-1, 1]."""

    def w(name: str) -> torch.Tensor:
        matrix = published[f"{name}.weight_orig"]
        sigma = torch.dot(
            published[f"{name}.weight_u"],
            torch.mv(matrix.flatten(1), published[f"{name}.weight_v"]),
        )
        return matrix / sigma

    def norm(x: torch.Tensor, at: str) -> torch.Tensor:
        mean, var = (published[f"{at}.running_{part}"][50] for part in ("means", "vars"))
        scale, offset = 1 + F.linear(c, w(f"{at}.scale")), F.linear(c, w(f"{at}.offset"))
        x = (x - mean.view(1, -1, 1, 1)) / torch.sqrt(var.view(1, -1, 1, 1) + 1e-4)
        return torch.relu(x * scale[..., None, None] + offset[..., None, None])

    def conv(x: torch.Tensor, at: str) -> torch.Tensor:
        weight = w(at)
        return F.conv2d(x, weight, published.get(f"{at}.bias"), padding=weight.shape[-1] // 2)

    def attend(x: torch.Tensor, at: str) -> torch.Tensor:
        theta, phi, g = (conv(x, f"{at}.snconv1x1_{part}") for part in ("theta", "phi", "g"))
        phi, g = F.max_pool2d(phi, 2).flatten(2), F.max_pool2d(g, 2).flatten(2)
        attention = torch.einsum("ncq,nck->nqk", theta.flatten(2), phi).softmax(-1)
        mixed = torch.einsum("nck,nqk->ncq", g, attention).view(len(x), -1, *x.shape[2:])
        return x + published[f"{at}.gamma"] * conv(mixed, f"{at}.snconv1x1_o_conv")

    c = torch.cat([z, published["embeddings.weight"][:, label].expand(len(z), -1)], 1)
    h = F.linear(c, w("generator.gen_z"), published["generator.gen_z.bias"])
    h, place = h.view(len(z), 4, 4, -1).permute(0, 3, 1, 2), 0
    for number, (up, _, _) in enumerate(CONFIGURATION):
        if number == 8:
            h, place = attend(h, f"generator.layers.{place}"), place + 1
        at, x = f"generator.layers.{place}", h
        place += 1
        for k in range(4):
            x = norm(x, f"{at}.bn_{k}")
            if up and k == 1:
                x = F.interpolate(x, scale_factor=2)
            x = conv(x, f"{at}.conv_{k}")
        h = h[:, : x.shape[1]]
        h = (F.interpolate(h, scale_factor=2) if up else h) + x
    mean, var = (published[f"generator.bn.running_{part}"][50] for part in ("means", "vars"))
    affine = published["generator.bn.weight"], published["generator.bn.bias"]
    h = torch.relu(F.batch_norm(h, mean, var, *affine, training=False, eps=1e-4))
    return torch.tanh(conv(h, "generator.conv_to_rgb")[:, :3])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(made_up(4, 3), path)
    return path


def prior(file: Path, size: int = 64) -> tuple[BigGANNetwork, dict[str, object]]:
    images = torch.zeros(1, 3, size, size)
    weights, card = BigGAN(str(file)).train(images, torch.zeros(1), torch.Generator())
    return BigGAN.load(weights), card


def test_images_are_those_of_the_published_computation(file: Path) -> None:
    network, card = prior(file)
    z = torch.randn(1, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = F.interpolate(reference(made_up(4, 3), z, 1), scale_factor=0.25, mode="area")
        made = network(z, torch.tensor([1]))
    assert expected.std() > 0.1
    torch.testing.assert_close(made, (expected + 1) / 2, atol=1e-5, rtol=1e-4)
    assert card["sha256"] == published_weights.read(file)[1]
    assert card["file"] == "tiny.safetensors"


def test_every_tensor_of_the_true_shapes_has_its_place() -> None:
    with torch.device("meta"):
        published = {
            name: torch.empty(shape) for name, shape in published_shapes(128, 1000).items()
        }
        network = BigGANNetwork()
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    published_weights.demand(converted(published, 12), shapes, "BigGAN")
    with torch.device("meta"):
        z = torch.empty(1, 128)
        features = network.features(z, network.condition(z, torch.empty(1, 1000)))
    sizes = [tuple(feature.shape[1:]) for feature in features]
    assert sizes[0] == (2048, 4, 4)
    assert sizes[1] == sizes[2] == (2048, 8, 8)
    assert sizes[7] == sizes[8] == sizes[9] == (512, 64, 64)
    assert sizes[11] == (256, 128, 128)
    assert sizes[12] == (3, 64, 64)
    assert len(network.radii) == 12
    assert network.radii[8] == 6000


def test_stages_compose(file: Path) -> None:
    network, _ = prior(file, 16)
    z = torch.randn(1, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        condition = network.condition(z, torch.tensor([7]))
        features = network.features(z, condition)
        for k in (3, 7, 8, 11):
            assert torch.equal(network.finish(k, features[k], condition), features[-1])


@pytest.mark.parametrize("layer", [Block(8, 4, 3, True), Attention(8)], ids=["block", "attention"])
def test_layers_are_twice_differentiable(layer: torch.nn.Module) -> None:
    random = torch.Generator().manual_seed(0)
    layer = layer.double()
    for value in layer.parameters():
        value.data = torch.randn(value.shape, generator=random, dtype=torch.float64)
    h = torch.randn(1, 8, 4, 4, generator=random, dtype=torch.float64, requires_grad=True)
    condition = torch.randn(1, 3, generator=random, dtype=torch.float64, requires_grad=True)
    inputs = (h, condition) if isinstance(layer, Block) else (h,)

    def of(*given: torch.Tensor) -> torch.Tensor:
        return layer(given[0], given[-1]).mean((2, 3))

    assert torch.autograd.gradcheck(of, inputs)
    assert torch.autograd.gradgradcheck(of, inputs)


def test_what_is_not_the_file_is_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, random = torch.zeros(1, 3, 64, 64), torch.Generator()
    monkeypatch.setenv("GRADSIEGE_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingError, match="GRADSIEGE_WEIGHTS"):
        BigGAN().train(images, images, random)
    with pytest.raises(GradSiegeError, match="SHA-256"):
        BigGAN(str(file), "0" * 64).train(images, images, random)
    lacking = made_up(4, 3)
    del lacking["generator.bn.bias"]
    save_file(lacking, tmp_path / "lacking.safetensors")
    with pytest.raises(GradSiegeError, match="1 tensors are missing"):
        BigGAN(str(tmp_path / "lacking.safetensors")).train(images, images, random)
    torch.save({"weights": print}, tmp_path / biggan.FILE)
    with pytest.raises(GradSiegeError, match="without running code"):
        BigGAN().train(images, images, random)
    with pytest.raises(StudyError, match="256 pixels"):
        BigGANNetwork(4, 3, 48)
