"""The result of an attack that is called from Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from gradsiege.protocol.reconstruction import Reconstruction

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Result:
    """Reconstructions of all clients.

    Attributes:
        reconstruction: the complete result of the attack, per client.
        seconds: wall time of the attack.
    """

    reconstruction: Reconstruction
    seconds: float

    def __repr__(self) -> str:
        """Say what was reconstructed, without the pixels."""
        images = self.reconstruction.images
        return (
            f"Result(clients={len(images)}, images_per_client={images.shape[1]}, image_shape={tuple(images.shape[2:])}, "
            f"failures={self.failures}, seconds={self.seconds:.3g})"
        )

    @property
    def images(self) -> Tensor:
        """Reconstructed images ``[n, c, h, w]`` in [0, 1], client after client; NaN where the attack failed."""
        return self.reconstruction.images.flatten(0, 1)

    @property
    def labels(self) -> Tensor:
        """Labels ``[n]`` that the attack was given or inferred."""
        return self.reconstruction.labels.flatten()

    @property
    def matching_loss(self) -> Tensor:
        """The loss ``[clients]`` of the returned images; it measures how well updates match, not how similar images are."""
        return self.reconstruction.matching_loss

    @property
    def failures(self) -> dict[int, str]:
        """Clients without a usable result, with the reason."""
        return self.reconstruction.failures

    def trace(self) -> pd.DataFrame:
        """Return the matching loss along the way: one row per iteration looked at, client and restart.

        The columns are ``iteration``, ``victim`` (the client, counted from 0), ``restart`` and ``matching_loss``.
        """
        import pandas as pd

        return pd.DataFrame(trace_rows(self.reconstruction))


def trace_rows(reconstruction: Reconstruction) -> list[dict[str, float]]:
    """Return the trace of a reconstruction, one row per iteration looked at, victim and restart."""
    return [
        {"iteration": iteration, "victim": victim, "restart": restart, "matching_loss": float(loss)}
        for iteration, losses in reconstruction.trace
        for victim, row in enumerate(losses)
        for restart, loss in enumerate(row)
    ]
