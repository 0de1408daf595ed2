"""Write an attack: match updates by the squared distance, with a little smoothness."""

from dataclasses import dataclass

import torch
import torchvision

import gradsiege as gs
from gradsiege.attacks.base import Attack
from gradsiege.attacks.objectives.distances import squared_l2
from gradsiege.attacks.objectives.regularizers import total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe


@dataclass(frozen=True)
class Smooth(Attack):  # the fields are its constants
    def recipe(self, knowledge):
        smooth = ((1e-3, total_variation),)
        return Recipe((Phase(knowledge.pixels(), squared_l2, smooth, Adam(0.1), self.iterations),))


images, labels = torch.rand(1, 3, 32, 32), torch.tensor([4])
seen = gs.observe(torchvision.models.resnet18(num_classes=10), images, labels)
print(gs.metrics.table(Smooth(iterations=20)(seen).images, images)[["psnr", "ssim"]])
