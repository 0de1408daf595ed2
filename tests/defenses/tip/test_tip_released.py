"""TIP as released: each switch alone with its measured effect, and all of them together."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradsiege import defenses
from gradsiege.defenses import tip
from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.grad_cam import channel_coefficients
from gradsiege.defenses.tip.ranking import top_channels
from gradsiege.federated.client import run_client
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, Tensors, norm, split_state

torch.set_num_threads(1)
OFF = dict.fromkeys(tip.Tip.switches, False)
LABELS = [4, 2, 7, 2]


def network(width: int = 8) -> nn.Module:
    spec = ModelSpec("resnet18", {"width": width}, 10, 3, 16)
    return build(spec, torch.Generator().manual_seed(5))


def client(epochs: int = 1, rate: float = 0.01) -> Client:
    model = network()
    images = torch.rand(len(LABELS), 3, 16, 16, generator=torch.Generator().manual_seed(1))
    training = LocalTraining("fedavg", 4, 4, epochs, rate, "eval")
    noise = torch.Generator().manual_seed(0)
    return Client(model, *split_state(model), images, torch.tensor(LABELS), training, noise)


def uploaded(party: Client, **parameters: Any) -> tuple[Tensors, Tensors]:
    """Update and buffers of TIP as released, with only the named switches on."""
    return run_client(party, defenses.build("tip", OFF | parameters, "as_released"))


def overlaps(model: nn.Module, images: Tensor, train_mode: bool) -> list[float]:
    """Share of the top tenth of channels on which float32 and float64 agree, by image and convolution."""
    shares = []
    for label, image in enumerate(images):
        single = channel_coefficients(model.float(), image, label, train_mode)
        double = channel_coefficients(model.double(), image.double(), label, train_mode)
        for layer, alpha in single.items():
            first, second = (set(top_channels(a, 0.1).tolist()) for a in (alpha, double[layer]))
            shares.append(len(first & second) / len(first))
    return shares


def test_train_mode_ranking_is_round_off() -> None:
    model = network(width=16)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert min(overlaps(model, images, train_mode=False)) == 1.0
    chosen_by_round_off = overlaps(model, images, train_mode=True)
    # Chance is about 0.1: every tenth channel is drawn twice.
    assert sum(chosen_by_round_off) / len(chosen_by_round_off) < 0.3
    sizes = [
        torch.cat(
            [alpha.abs() for alpha in channel_coefficients(model, images[0], 0, mode).values()]
        )
        for mode in (False, True)
    ]
    assert sizes[1].mean() < 1e-5 * sizes[0].mean()


def test_train_mode_ranking_moves_the_noise_to_other_channels() -> None:
    party = client()
    clean, _ = uploaded(client(), epsilon=1e9)
    eval_mode, _ = uploaded(party)
    train_mode, _ = uploaded(client(), train_mode_ranking=True)
    name = "body.blocks.7.conv2.weight"
    marked = [
        (update[name] - clean[name]).flatten(1).norm(dim=1) > 1e-3
        for update in (eval_mode, train_mode)
    ]
    assert marked[0].any()
    assert marked[1].any()
    assert not torch.equal(*marked)


def test_a_single_sample_of_the_lowest_class_chooses_every_channel() -> None:
    """One draw at full strength instead of one a class at a third: the noise is sqrt(3) times as strong."""
    clean, _ = uploaded(client(), epsilon=1e9)
    noise = {}
    for alone in (False, True):
        update, _ = uploaded(client(), first_sample_only=alone, ratio=1.0)
        noise[alone] = float(norm({name: update[name] - clean[name] for name in update}))
    assert abs(noise[True] / noise[False] / 3**0.5 - 1) < 0.02
    update, _ = uploaded(client(), first_sample_only=True)
    trained = network()
    trained.load_state_dict({**client().local_parameters(clean), **client().buffers})
    # Class 2 is the lowest, and image 1 its first.
    for layer, alpha in channel_coefficients(trained, client().images[1], 2).items():
        name = f"{layer}.weight"
        noised = (update[name] - clean[name]).flatten(1).norm(dim=1) > 1e-3
        wide = clean[name].shape[-1] > 1
        wanted = sorted(top_channels(alpha, 0.1).tolist()) if wide else []
        assert noised.nonzero().flatten().tolist() == wanted, name


def test_gradients_that_are_never_zeroed_add_up() -> None:
    """Three steps at nearly the same weights: g, then 2 g, then 3 g, instead of g each."""
    quiet = {"epsilon": 1e30, "clip": 1e9}
    once, _ = run_client(client(epochs=3, rate=1e-6), Defense())
    summed, _ = uploaded(client(epochs=3, rate=1e-6), gradients_accumulated=True, **quiet)
    zeroed, _ = uploaded(client(epochs=3, rate=1e-6), **quiet)
    for name, value in once.items():
        torch.testing.assert_close(summed[name], 2 * value, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(zeroed[name], value, rtol=1e-3, atol=1e-5)


def test_the_running_sum_is_clipped_and_ends_with_the_round() -> None:
    party = client(epochs=3, rate=1e-6)
    first, _ = uploaded(party, gradients_accumulated=True, clip=0.01, epsilon=1e9)
    # Each of three steps has the norm of the bound, in nearly one direction.
    assert abs(float(norm(first)) / 0.03 - 1) < 1e-3
    assert party.state == {}
    second, _ = uploaded(party, gradients_accumulated=True, clip=0.01, epsilon=1e9)
    assert abs(float(norm(second)) / 0.03 - 1) < 1e-3


def test_the_ranking_image_can_be_read_off_the_uploaded_buffers() -> None:
    """The statistics move by a tenth towards those of the one ranking image: its own are known exactly."""
    party = client()
    clean, _ = uploaded(client(), epsilon=1e9)
    _, buffers = uploaded(party, ranking_writes_buffers=True, first_sample_only=True)
    trained = network()
    trained.load_state_dict({**party.local_parameters(clean), **party.buffers})
    normalised = trained.normalisation(party.images[1:2])
    expected = trained.body.stem[0](normalised).double().mean((0, 2, 3))
    key = "body.stem.1.running_mean"
    recovered = (buffers[key].double() - 0.9 * party.buffers[key].double()) / 0.1
    torch.testing.assert_close(recovered, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("switch", [None, "train_mode_ranking", "gradients_accumulated"])
def test_no_other_switch_touches_the_buffers(switch: str | None) -> None:
    party = client()
    _, buffers = uploaded(party, **({switch: True} if switch else {}))
    assert all(torch.equal(buffers[name], value) for name, value in party.buffers.items())


def test_released_arm_turns_every_open_switch_on_and_keeps_the_set_ones() -> None:
    faithful = defenses.build("tip", {}).disclosure()
    released = defenses.build("tip", {"first_sample_only": False}, "as_released").disclosure()
    assert faithful["arm"] == "faithful"
    assert not any(faithful[switch] for switch in tip.Tip.switches)
    assert [released[switch] for switch in tip.Tip.switches] == [True, False, True, True]
