"""TIP's ranking against the definition of Grad-CAM, and what it leaves alone."""

import torch
from torch import Tensor, nn

from gradsiege.defenses.tip.ranking import channel_coefficients, convolutions, one_image_per_class
from gradsiege.models import ModelSpec, build

torch.set_num_threads(1)


def network(name: str = "convnet") -> nn.Module:
    return build(ModelSpec(name, {"width": 8}, 10, 3, 16), torch.Generator().manual_seed(5))


def test_coefficients_are_the_mean_gradient_of_the_true_logit() -> None:
    model = network().eval()
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(3))
    found = channel_coefficients(model, image, 4)
    outputs: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_hook(lambda m, i, o, n=name: outputs.__setitem__(n, o))
        for name, layer in convolutions(model).items()
    ]
    logit = model(image[None])[0, 4]
    gradients = torch.autograd.grad(logit, list(outputs.values()))
    for handle in handles:
        handle.remove()
    assert list(found) == list(outputs)
    for alpha, gradient in zip(found.values(), gradients, strict=True):
        torch.testing.assert_close(alpha, gradient.mean((0, 2, 3)), rtol=1e-4, atol=1e-9)


def test_ranking_leaves_the_model_alone() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    channel_coefficients(model, torch.rand(3, 16, 16), 0)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_one_ranking_sample_per_class_present() -> None:
    assert one_image_per_class(torch.tensor([3, 1, 3, 1, 0])) == [4, 1, 0]
