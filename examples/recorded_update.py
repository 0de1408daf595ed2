"""Invert an update that was recorded elsewhere, as an .npz file of arrays named like the network's parameters."""

import tempfile
from pathlib import Path

import numpy as np
import torch
import torchvision

import gradsiege as gs

torch.manual_seed(0)
model = torchvision.models.resnet18(num_classes=10).eval()
loss = torch.nn.functional.cross_entropy(model(torch.rand(1, 3, 32, 32)), torch.tensor([4]))
gradients = torch.autograd.grad(loss, list(model.parameters()))
file = Path(tempfile.mkdtemp()) / "update.npz"
names = [name for name, _ in model.named_parameters()]
np.savez(file, **{name: value.numpy() for name, value in zip(names, gradients, strict=True)})

seen = gs.Observation.of(model, dict(np.load(file)), image_shape=(3, 32, 32))
found = gs.attacks.InvertingGradients(iterations=20)(seen)
print(found.labels, found.matching_loss)
