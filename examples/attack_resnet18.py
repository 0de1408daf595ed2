"""Attack torchvision's ResNet-18: what would a server see of two clients with one image each?"""

import torch
import torchvision

import gradsiege as gs

torch.manual_seed(0)
model = torchvision.models.resnet18(num_classes=10)
images = torch.nn.functional.interpolate(torch.rand(2, 3, 5, 5), 32, mode="bilinear")
labels = torch.tensor([3, 7])

seen = gs.observe(model, images, labels)
found = gs.attacks.InvertingGradients(iterations=30)(seen)

print(found.labels)  # inferred from the update alone
print(gs.metrics.table(found.images, images)[["psnr", "ssim"]])
