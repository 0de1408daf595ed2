"""A released defect of Shadow: in the first round the clients hold another last layer than the server.

The server never sends its initial model, and both sides draw the last layer themselves. The server computes the clients'
first update as its own weights minus theirs, which then contains the difference of two random layers; an attack
on the untrained model meets a gradient that belongs to neither side's idea of theta_0. From the second round on all
hold the same weights.
"""

from __future__ import annotations

import math

import torch

from gradsiege.models.head import Head
from gradsiege.protocol.local_update import Tensors
from gradsiege.seeds import torch_generator


def head_difference(parameters: Tensors, head: Head) -> Tensors:
    """Return the clients' initial last layer minus the given one of the server, by name of the parameter.

    Takes and returns tensors by name, each of the shape of its parameter.

    The layer is drawn as in PyTorch, uniformly in +-1 / sqrt(features), and is the same for all clients; it is not known
    whether the released clients differ from each other. A frozen parameter has no difference: both sides keep it.
    """
    if head.weight not in parameters:
        return {}
    generator = torch_generator("last layer of Shadow's clients")
    bound = 1 / math.sqrt(parameters[head.weight].shape[1])
    differences = {}
    for name in (name for name in head.parameters if name in parameters):
        value = parameters[name]
        drawn = torch.empty(value.shape).uniform_(-bound, bound, generator=generator)
        differences[name] = drawn.to(value) - value
    return differences


def moved(parameters: Tensors, difference: Tensors) -> Tensors:
    """Return the parameters with a difference added where there is one.

    >>> moved({"a": torch.tensor([1.0]), "b": torch.tensor([2.0])}, {"b": torch.tensor([0.5])})
    {'a': tensor([1.]), 'b': tensor([2.5000])}
    """
    return {
        name: value + difference[name] if name in difference else value
        for name, value in parameters.items()
    }
