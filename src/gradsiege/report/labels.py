"""Names as readers know them, from the canonical names of study files."""

from __future__ import annotations

import re

LABELS = {
    # attacks
    "dlg": "DLG",
    "idlg": "iDLG",
    "inverting_gradients": "Inverting Gradients",
    "modern_inverting_gradients": "Modern Inverting Gradients",
    "gradinversion": "GradInversion",
    "ggl": "GGL",
    "gias": "GIAS",
    "deep_image_prior": "Deep Image Prior",
    "gi_pip": "GI-PIP",
    "gifd": "GIFD",
    "rog": "ROG",
    "learned_inversion": "Learned inversion",
    "spear": "SPEAR",
    "label_lookup": "Label lookup",
    "auxiliary_lookup": "Auxiliary lookup",
    "identification": "Identification",
    # controls
    "control_random": "Random image",
    "control_class_mean": "Class mean",
    "control_aux_draw": "Auxiliary draw",
    "control_nearest_aux": "Nearest auxiliary",
    "perfect_inversion": "Perfect inversion",
    # defenses
    "none": "No defense",
    "gaussian": "Gaussian noise",
    "laplace": "Laplace noise",
    "clipping": "Clipping",
    "sparsification": "Sparsification",
    "top_k": "Top-k",
    "sign": "Sign",
    "quantization": "Quantization",
    "dp_sgd": "DP-SGD",
    "soteria": "Soteria",
    "precode": "PRECODE",
    "ats": "ATS",
    "censor": "CENSOR",
    "agp": "AGP",
    "tip": "TIP",
    "tip_dp": "TIP's DP",
    "shadow": "Shadow",
    "generic": "generic",
    # priors
    "staged_gan": "Staged GAN",
    "pca": "PCA",
    # data sets
    "cifar10_jpeg": "CIFAR-10, JPEG copies",
    # models
    "lenet": "LeNet",
    "convnet": "ConvNet",
    "mlp": "Perceptron",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "vgg11": "VGG-11",
    "vgg16": "VGG-16",
    "densenet121": "DenseNet-121",
    "vit_small": "ViT-S",
    # data sets, protocols, stages
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "tiny_imagenet": "Tiny ImageNet",
    "imagenet": "ImageNet",
    "ffhq_age": "FFHQ (age)",
    "pacs": "PACS",
    "celeba": "CelebA",
    "fedsgd": "FedSGD",
    "fedavg": "FedAvg",
}


# Networks whose variants in study files have the network's name as a prefix, such as convnet_group.
NETWORKS = ("lenet", "convnet", "mlp", "resnet18", "vgg11", "vgg16")


def label(identifier: str, name: str | None = None) -> str:
    """Readable label of an id; `name` is the method behind it when the id carries a suffix.

    >>> label("gi_pip"), label("gaussian-sigma0.01"), label("gi_pip-as_released")
    ('GI-PIP', 'Gaussian noise (sigma 0.01)', 'GI-PIP (as released)')
    >>> label("convnet_group")
    'ConvNet (group)'
    """
    network = identifier.partition("_")[0]
    if name is None and network in NETWORKS and identifier not in LABELS:
        name = network
    method = name or identifier.partition("-")[0]
    base = LABELS.get(method, method.replace("_", " ").capitalize())
    rest = identifier.removeprefix(method).strip("-_")
    if not rest or identifier == method:
        return base
    if rest == identifier:  # an id that does not start with the method's name
        return f"{base} ({identifier.replace('_', ' ')})"
    return f"{base} ({strength(rest)})"


def strength(suffix: str) -> str:
    """Readable form of the suffix that a sweep gives an id.

    >>> strength("sigma0.01"), strength("ratio0.9-steps2"), strength("as_released")
    ('sigma 0.01', 'ratio 0.9, steps 2', 'as released')
    >>> strength("tip.drop_flagged_channels")
    'TIP: drop flagged channels'
    """
    parts = re.split(r"-(?=[a-zA-Z])", suffix)
    spaced = [re.sub(r"^([a-zA-Z_]*[a-zA-Z])_?(-?\d)", r"\1 \2", part) for part in parts]
    return ", ".join(_counter(part).replace("_", " ") for part in spaced)


def _counter(part: str) -> str:
    """Name the defense of a counter as readers know it: 'tip.whitened' becomes 'TIP: whitened'."""
    defense, dot, idea = part.partition(".")
    return f"{LABELS[defense]}: {idea}" if dot and defense in LABELS else part
