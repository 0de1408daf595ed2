"""Attack torchvision's ResNet-18: what would a server see of two clients with one image each?"""

import torch
import torchvision
from skimage import data

import gradsiege as gs

torch.manual_seed(0)
model = torchvision.models.resnet18(num_classes=10)
pictures = [data.astronaut()[:256:8, 100:356:8], data.coffee()[:256:8, 100:356:8]]
images = torch.tensor([picture / 255 for picture in pictures]).permute(0, 3, 1, 2).float()
labels = torch.tensor([3, 7])

seen = gs.observe(model, images, labels)
found = gs.attacks.InvertingGradients(iterations=30)(seen)

print(found.labels)  # inferred from the update alone
print(gs.metrics.table(found.images, images)[["psnr", "ssim"]])
