"""Values of more than 8 bits: scaled by a stated depth, and compared with the range that the pictures use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gradsiege.datasets.preparation.splits import Bytes

HOPELESS = 12  # bits of 16: at most sixteen of 256 levels would be left


def shallow(pixels: npt.NDArray[np.uint16], bits: int, name: str) -> Bytes:
    """Keep the upper eight of `bits` bits.

    Args:
        pixels: uint16 ``[h, w]``.
        bits: depth of the values, 8 to 16.
        name: named in errors.

    Raises:
        ValueError: when a value is larger than the depth allows.

    >>> shallow(np.array([[0, 2048, 4095]], dtype=np.uint16), 12, "x.png").tolist()
    [[0, 128, 255]]
    """
    largest = int(pixels.max(initial=0))
    if largest >= 2**bits:
        raise ValueError(
            f"{name} holds the value {largest}, which {bits} bits cannot; set `bits` to "
            f"{largest.bit_length()} or more"
        )
    return (pixels >> (bits - 8)).astype(np.uint8)


class Depths:
    """The brightest values of the pictures that were read, beside the largest values of their depth.

    Args:
        stated: bits that the study file states, or None.
        user_files: whether a person can be asked for the depth.
    """

    def __init__(self, stated: int | None, user_files: bool) -> None:
        self.stated, self.user_files = stated, user_files
        self.deep = self.shallow = self.coloured = 0
        self.bits = 16
        self.brightest_deep = self.brightest_shallow = 0
        self.example = ""
        self.flat: list[str] = []

    def add(
        self, name: str, pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], bits: int
    ) -> None:
        """Count a picture; `bits` is the depth of its file, whose colours may have been reduced to 8."""
        brightest = int(pixels.max(initial=0))
        if pixels.size and brightest == int(pixels.min()):
            self.flat.append(name)
        if bits == 8:
            self.shallow += 1
            self.brightest_shallow = max(self.brightest_shallow, brightest)
            return
        self.deep += 1
        self.bits = bits
        if pixels.dtype == np.uint8:
            self.coloured += 1
            brightest = brightest * 256 + 255
        if brightest > self.brightest_deep or not self.example:
            self.brightest_deep, self.example = brightest, name

    def sentences(self) -> list[str]:
        """Return one sentence for each kind of picture that does not use its range.

        Raises:
            ValueError: when the user's deep pictures would be black, or almost black and no depth is stated.
        """
        remarks = []
        bits, used = self.stated or self.bits, max(self.brightest_deep.bit_length(), 8)
        if self.deep and used < bits:
            where = (
                f"{_pictures(self.deep)} values of {bits} bits, but none is larger than {self.brightest_deep} "
                f"({self.example})"
            )
            hopeless = self.user_files and self.stated is None and used <= HOPELESS
            # A user who states 16 bits accepts dark pictures, but not black ones.
            black = self.user_files and 0 < self.brightest_deep < 2 ** (bits - 8)
            if black:
                raise ValueError(f"{where}: nothing would be left of them. Set `bits: {used}`")
            if hopeless and self.coloured:
                raise ValueError(f"{where}: they would be almost black. Convert them to 8 bits")
            if hopeless:
                raise ValueError(
                    f"{where}: they would be almost black. Set `bits: {used}`, or `bits: {bits}` if they are so dark"
                )
            remarks.append(
                f"{where}: the upper {bits - used} bits are not used, and the pictures are dark"
            )
        if self.shallow and self.brightest_shallow < 128:
            remarks.append(
                f"{_pictures(self.shallow)} 8 bits, but no value is larger than {self.brightest_shallow} of 255: they "
                "are dark"
            )
        if self.flat:
            remarks.append(
                f"pictures of one colour alone: {len(self.flat)}, such as {self.flat[0]}"
            )
        return remarks


def _pictures(count: int) -> str:
    return "1 picture has" if count == 1 else f"{count} pictures have"
