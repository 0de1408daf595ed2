"""Pictures as addresses that hold their own bytes."""

from __future__ import annotations

import base64
import io

from torch import Tensor

from gradsiege.extras import need
from gradsiege.images import to_bytes

# A larger picture is shown smaller, so that the page stays light.
LONGEST = 160


def address(image: Tensor) -> str:
    """Return the ``data:`` address of an image ``[c, h, w]`` in [0, 1] as PNG; empty where it is not finite.

    Raises:
        MissingError: Pillow is not installed.
    """
    need("PIL")
    from PIL import Image

    if not bool(image.isfinite().all()):
        return ""
    pixels = to_bytes(image).permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if max(picture.size) > LONGEST:
        picture.thumbnail((LONGEST, LONGEST))
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
