"""Audit torchvision's ResNet-18 on a folder of pictures; ten random ones stand in for yours."""

from pathlib import Path

import numpy as np
import torchvision
from PIL import Image

import gradsiege as gs
from gradsiege.auditing.inputs.pictures import read_pictures

for number in range(10):
    folder = Path(f"pictures/class{number % 2}")
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((40, 40), 3).save(folder / f"{number}.png")

own = read_pictures(Path("pictures"), most=100, size=32, channels=3)
network = torchvision.models.resnet18(weights=None, num_classes=2).eval()
seconds = gs.Budget("seconds", 20.0, pictures=2, iterations=3, rank=0, trials=1)
public = own.images.flip(3)  # what the attacker owns; photographs, if it is not given
result = gs.audit(network, own.images, own.labels, budget=seconds, aux=public, resume="audit")
print(f"{result.decibel:.1f} dB, {result.worst.verdict}: {result.save('audit')}")
