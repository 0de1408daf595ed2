"""Compare three defenses against an attacker who does not know them, and one who does."""

import torch
from skimage import data

import gradsiege as gs

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 12, 5, stride=2, padding=2),
    torch.nn.Sigmoid(),
    torch.nn.Flatten(),
    torch.nn.Linear(12 * 16 * 16, 10),
)
image = torch.tensor(data.astronaut()[:256:8, 100:356:8] / 255).permute(2, 0, 1).float()
defenses = [None, gs.defenses.Gaussian(sigma=0.01), gs.defenses.TopK(fraction=0.05)]
attack = gs.attacks.InvertingGradients(iterations=300)

rows = gs.evaluate(model, image[None], torch.tensor([3]), defenses=defenses, attacks=[attack])
print(rows[["defense", "attack", "counter", "psnr"]].round(1).to_string(index=False))
