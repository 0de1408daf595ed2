# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Your gradient, my image
#
# In federated learning you keep your pictures and send a gradient. This page takes one gradient and computes the picture back. It
# needs `pip install ".[study]"`, a CPU, and no earlier knowledge of attacks.

# %%
import torch
from skimage import data
from torch.nn.functional import interpolate

import gradsiege as gs

torch.manual_seed(0)
iterations = 400  # more of them recover more

# %% [markdown]
# ## Your side: a picture, a network, a gradient
#
# A photograph that ships with scikit-image, cut to 32 by 32 pixels, stands in for yours. Images are `[n, channels, height, width]` in [0, 1]
# everywhere. The network is a small one that nobody has trained yet.

# %%
photograph = torch.from_numpy(data.astronaut()[:200, 120:320]).permute(2, 0, 1)[None] / 255
image = interpolate(photograph, 32, mode="area")
label = torch.tensor([3])
network = torch.nn.Sequential(
    torch.nn.Conv2d(3, 12, 5, stride=2, padding=2),
    torch.nn.Sigmoid(),
    torch.nn.Flatten(),
    torch.nn.Linear(12 * 16 * 16, 10),
)

# %% [markdown]
# `gs.observe` is what a server sees: the network, which it sent you itself, and your update. The picture is not in it.

# %%
seen = gs.observe(network, image, label)
print({name: tuple(value.shape) for name, value in seen.update.items()})

# %% [markdown]
# ## The server's side: the picture
#
# The attacker starts with noise and changes it until its gradient points the same way as yours ("Inverting Gradients", arXiv 2003.14053). Nobody
# told it the label: it reads that off the last layer's gradient.

# %%
result = gs.attacks.InvertingGradients(iterations=iterations, total_variation=1e-4)(seen)
print("inferred label:", result.labels.tolist())
undefended = gs.metrics.table(result.images, image)
print(undefended[["psnr", "ssim"]].round(2).to_string(index=False))

# %% [markdown]
# PSNR is in decibels, and more is closer. Look for yourself:

# %%
from gradsiege.images import to_bytes  # noqa: E402

pair = torch.cat([image[0], result.images[0].clamp(0, 1)], dim=2)
pixels = to_bytes(pair[None])[0].permute(1, 2, 0).numpy()
print("original and reconstruction side by side:", pixels.shape)
# In a notebook: from PIL import Image; Image.fromarray(pixels).resize((512, 256), 0)

# %% [markdown]
# ## Does it help to add noise?
#
# A defense changes what you send. `gs.evaluate` runs attacks against defenses, by an attacker who does not know the defense (`counter` is empty)
# and by one who does.

# %%
rows = gs.evaluate(
    network,
    image,
    label,
    defenses=[None, gs.defenses.Gaussian(sigma=0.01), gs.defenses.Gaussian(sigma=0.1)],
    attacks=[gs.attacks.InvertingGradients(iterations=iterations, total_variation=1e-4)],
)
print(rows[["defense", "defense_parameters", "counter", "psnr"]].round(1).to_string(index=False))

# %% [markdown]
# One picture and one network show nothing in general: a study attacks many victims, gives intervals, and asks what the defense costs in accuracy.
# Go on with the first study, audit a network of your own, or break a defense that was built against just this attack: the next page.
