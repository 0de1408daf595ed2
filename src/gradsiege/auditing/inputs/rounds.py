"""A folder of uploads that a server recorded, and the network that they belong to, as `gradsiege.audit_rounds` takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradsiege.auditing.inputs.fit import outputs_of, refuse_count
from gradsiege.auditing.inputs.networks import channels_of, network_named
from gradsiege.auditing.inputs.request import Request, about_clients, scales_of
from gradsiege.errors import UsageError
from gradsiege.integrations.recordings import recordings


def rounds(request: Request, folder: Path) -> dict[str, Any]:
    """Return the arguments of `gradsiege.audit_rounds` for a folder of recordings, which hold the weights that were sent.

    Raises:
        UsageError: the size of the pictures is not given, weights are, or several trainings or defenses are.
        ArtifactError: the folder holds no recording, or a damaged one.
    """
    side = request.side_of_updates()
    if request.weights:
        raise UsageError(
            f"--updates {folder} is a folder of recordings, which hold the weights that were sent; leave --weights out"
        )
    of_clients = about_clients(request)
    uploads = recordings(folder)
    sent = {name.removeprefix("_module."): value for name, value in uploads[0].sent.items()}
    weights = None if "0" in sent else sent  # a list of arrays has no names
    shape = (3, side, side)
    network = network_named(request.model, request.classes, shape, weights)
    channels = channels_of(network) or 3
    if channels != 3:
        shape = (channels, *shape[1:])
        network = network_named(request.model, request.classes, shape, weights)
    refuse_count(request.model, request.classes, outputs_of(network.eval(), shape, request.model))
    scales, remarks = scales_of(request, network, channels)
    return {
        "uploads": uploads,
        "model": network,
        "image_shape": shape,
        "normalisation": scales,
        "remarks": remarks,
        **of_clients,
    }
