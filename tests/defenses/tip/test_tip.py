"""TIP's faithful arm as a whole: what is noised, what stays clean, and that its draws never change."""

import math

import torch
from torch import nn

from gradsiege import defenses
from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.grad_cam import channel_coefficients, convolutions
from gradsiege.defenses.tip.noise import clip_gradient, high_frequency_mask, noise_scale
from gradsiege.defenses.tip.ranking import top_channels
from gradsiege.federated.client import run_client
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, Step, Tensors, split_state

torch.set_num_threads(1)


def network(name: str = "convnet") -> nn.Module:
    return build(ModelSpec(name, {"width": 8}, 10, 3, 16), torch.Generator().manual_seed(5))


def client(model: nn.Module, labels: list[int], rate: float = 0.01, seed: int = 0) -> Client:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(len(labels), 3, 16, 16, generator=generator)
    training = LocalTraining("fedsgd", len(labels), len(labels), 1, rate, "eval")
    noise = torch.Generator().manual_seed(seed)
    return Client(model, *split_state(model), images, torch.tensor(labels), training, noise)


class Clipped(Defense):
    """TIP's clipping without its noise."""

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        return clip_gradient(gradient, 5.0)


def test_only_the_top_channels_of_wide_kernels_are_noised() -> None:
    model = network("resnet18")
    party = client(model, [2])
    defense = defenses.build("tip", {"ratio": 0.3, "clip": 1e9})
    clean, _ = run_client(client(model, [2]), defenses.build("none", {}))
    defended, _ = run_client(party, defense)
    trained = network("resnet18")
    trained.load_state_dict({**party.local_parameters(clean), **party.buffers})
    alphas = channel_coefficients(trained, party.images[0], 2)
    for name, value in clean.items():
        difference = defended[name] - value
        layer = name.removesuffix(".weight")
        if layer not in alphas or value.shape[-1] == 1:
            assert not difference.any(), name
            continue
        noised = difference.flatten(1).any(1).nonzero().flatten().tolist()
        assert noised == sorted(top_channels(alphas[layer], 0.3).tolist()), name
        assert difference.mean((2, 3)).abs().max() < 1e-3 * difference.abs().max(), name


def test_noise_in_weight_units_does_not_depend_on_the_unit_of_the_update() -> None:
    """The noise on the weights is beta_l times the drawn noise, whatever the learning rate."""
    model, scales = network(), []
    for rate in (0.1, 0.001):
        party = client(model, [2], rate)
        clean, _ = run_client(client(model, [2], rate), defenses.build("none", {}))
        defended, _ = run_client(party, defenses.build("tip", {"clip": 5.0, "ratio": 1.0}))
        name = "body.features.3.weight"
        on_weights = (defended[name] - clean[name]) * rate
        beta = noise_scale(party.training, 5.0, 5.0, 1e-5) / len(convolutions(model))
        scales.append(float(on_weights.std()) / beta)
    assert all(abs(scale / math.sqrt(8 / 9) - 1) < 0.05 for scale in scales)


def written_out(client: Client, update: Tensors) -> Tensors:
    """TIP with its default parameters in one piece, draw by draw, for a client that one epoch of one batch trained."""
    model = network("resnet18")
    model.load_state_dict({**client.local_parameters(update), **client.buffers})
    first = {int(label): i for i, label in reversed(list(enumerate(client.labels)))}
    quantile = math.sqrt(2 * math.log(1.25 / 1e-5))
    scale = 1 * (client.training.learning_rate * 5.0 / len(client.labels)) * quantile / 5.0
    scale /= 20 * len(first) * client.training.learning_rate
    defended = dict(update)
    for label, image in sorted(first.items()):
        for layer, alpha in channel_coefficients(model, client.images[image], label).items():
            chosen = alpha.topk(max(1, len(alpha) // 10)).indices
            rest = update[f"{layer}.weight"].shape[1:]
            drawn = torch.randn(len(chosen), *rest, generator=client.generator)
            mask = high_frequency_mask(rest[-1], 0.5)
            noise = torch.fft.ifft2(torch.fft.fft2(drawn) * mask).real
            name = f"{layer}.weight"
            defended[name] = defended[name].index_add(0, chosen, noise, alpha=-scale)
    return defended


def test_default_output_is_bit_for_bit_that_of_the_first_version() -> None:
    labels = [3, 1, 3, 0]
    # Clipping is part of the local steps, so the clean update is taken with the same bound.
    defended, _ = run_client(client(network("resnet18"), labels), defenses.build("tip", {}))
    clean, _ = run_client(client(network("resnet18"), labels), Clipped())
    expected = written_out(client(network("resnet18"), labels), clean)
    assert any(not torch.equal(expected[name], clean[name]) for name in clean)
    assert all(torch.equal(expected[name], defended[name]) for name in clean)
