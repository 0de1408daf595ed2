"""Compare three defenses against an attacker who does not know them, and one who does."""

import torch

import gradsiege as gs

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 12, 5, stride=2, padding=2),
    torch.nn.Sigmoid(),
    torch.nn.Flatten(),
    torch.nn.Linear(12 * 16 * 16, 10),
)
image = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 5), 32, mode="bilinear")
defenses = [None, gs.defenses.Gaussian(sigma=0.01), gs.defenses.TopK(fraction=0.05)]
attack = gs.attacks.InvertingGradients(iterations=300)

rows = gs.evaluate(model, image, torch.tensor([3]), defenses=defenses, attacks=[attack])
print(rows[["defense", "attack", "counter", "psnr"]].round(1).to_string(index=False))
