# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Breaking TIP in ten minutes
#
# TIP (arXiv 2602.11633) ranks the channels of every convolution by their sensitivity and adds noise to the high frequencies of the most
# sensitive ones. Against an attacker who does not know it, reconstructions are unrecognisable. This page asks what is left of that when the attacker
# knows the defense, which is what a protection must withstand.

# %%
from dataclasses import replace

import torch
from skimage import data
from torch.nn.functional import interpolate

import gradsiege as gs

iterations = 150  # with the step and smoothness of config/adaptive.yaml
image = interpolate(
    torch.from_numpy(data.astronaut()[:200, 120:320]).permute(2, 0, 1)[None] / 255, 32, mode="area"
)
label = torch.tensor([3])
network = gs.models.ConvNet(width=16).build(classes=10, channels=3, size=32)

# %% [markdown]
# ## The paper's picture
#
# A blind attack on the undefended update, and the same on TIP's.

# %%
tip = gs.defenses.Tip(ratio=0.1)
attack = gs.attacks.InvertingGradients(
    iterations=iterations, learning_rate=0.2, total_variation=0.03
)


def decibel(result):
    """PSNR of a reconstruction."""
    return round(gs.metrics.table(result.images, image)["psnr"].iloc[0], 1)


undefended = gs.observe(network, image, label)
defended = gs.observe(network, image, label, defense=tip)
print("no defense, blind:", decibel(attack(undefended)), "dB")
print("TIP, blind:       ", decibel(attack(defended)), "dB")

# %% [markdown]
# ## The defense's disclosure
#
# TIP is public, and so are its parameters. The attacker's threat model grants the disclosure and nothing else that is new.

# %%
print(defended.disclosure)
informed = gs.ThreatModel(labels="inferred", disclosure=True)

# %% [markdown]
# ## One change at a time
#
# A *counter* is a change that an informed attacker makes to an attack. TIP leaves most channels untouched, so the first idea is to match only
# those (`drop_flagged_channels`); and it noises high frequencies alone, so another is to keep the mean of a noised kernel (`keep_kernel_means`).

# %%
for counter in ("tip.drop_flagged_channels", "tip.keep_kernel_means", "tip.whitened"):
    result = replace(attack, counter=counter)(defended, informed)
    print(f"TIP, {counter}: {decibel(result)} dB")

# %% [markdown]
# ## Is it only this defense?
#
# Gaussian noise on every coordinate, of the same length as TIP's change, has no untouched channel to fall back on. A counter that knows its
# law (`gaussian.likelihood`) gains what can be gained.

# %%
changed = [defended.update[name] - undefended.update[name] for name in undefended.update]
length = torch.cat([value.flatten() for value in changed]).norm()
coordinates = sum(value.numel() for value in changed)
everywhere = gs.defenses.Gaussian(sigma=float(length / coordinates**0.5))
noised = gs.observe(network, image, label, defense=everywhere)
print("noise of equal length, blind:   ", decibel(attack(noised)), "dB")
print(
    "noise of equal length, informed:",
    decibel(replace(attack, counter="gaussian.likelihood")(noised, informed)),
    "dB",
)

# %% [markdown]
# One picture shows how it works, and no more. `config/adaptive.yaml` asks the same of every defense with intervals, and
# `config/tip_counters.yaml` of every counter to TIP; their kept results are on the pages *adaptive* and *tip_counters*.
