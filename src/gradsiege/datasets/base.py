"""The base of all data sets: a frozen dataclass of parameters, with the source of the images and their listing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from gradsiege import catalogue
from gradsiege.datasets.formats.remarks import Remarks
from gradsiege.datasets.preparation.listing import RULE, Listing, splits_of
from gradsiege.datasets.preparation.remarks import remarks_on
from gradsiege.datasets.preparation.splits import ROLES, Prepared, check_request, make_card
from gradsiege.datasets.sources import supply
from gradsiege.datasets.sources.supply import File, Origin, Packaged
from gradsiege.errors import StudyError, nearest
from gradsiege.ranges import Checked


@dataclass(frozen=True)
class Dataset(Checked):
    """Base of all data sets.

    A data set is a frozen dataclass. Its fields are its parameters, and their annotations are the ranges, which hold in study
    files and in Python. A data set that is downloaded or supplied has an `origin`, `files` and a `listing`, and the base
    deals its images; one whose images ship with an installed package, or are drawn, defines its own `prepare`.

    Attributes:
        origin: description, terms and steps to obtain it; None for data sets that ship.
        folder: of its files, below the data root; by default its name.
        packaged: where a package of the operating system puts its files.
    """

    name: ClassVar[str]
    origin: ClassVar[Origin | None] = None
    folder: ClassVar[str] = ""
    packaged: ClassVar[Packaged | None] = None

    def __post_init__(self) -> None:
        """Check the parameters, and that a data set of copies names a data set.

        Raises:
            StudyError: `copies_of` names something else.
        """
        super().__post_init__()
        original, known = getattr(self, "copies_of", ""), list(catalogue.entries("datasets"))
        if original and original not in known:
            raise StudyError(
                f"copies_of is {original!r}, not a data set; {nearest(original, known)}"
            )

    def files(self) -> tuple[File, ...]:
        """Return the files of the data set, with their published checksums."""
        return ()

    def listing(self, folder: Path) -> Listing:
        """List every image of the files in `folder` without decoding any.

        Raises:
            ValueError: the files are damaged or laid out in another way; the sentence names them.
        """
        raise TypeError(f"{type(self).__name__} lists no images: define `listing`, or `prepare`")

    def prepare(
        self, size: int, counts: Mapping[str, int], seed: int, folder: Path | None = None
    ) -> Prepared:
        """Deal the images to roles, each group of images to one role only.

        Args:
            size: side of the square images in pixels.
            counts: images wanted for each role; a role that is not named gets no split.
            seed: non-negative integer from which every random choice is derived.
            folder: disk space for images of large data sets, which are mapped and not held in memory.

        Returns:
            uint8 images ``[n, 3, size, size]`` with labels, for each role, and the data card.

        Raises:
            ValueError: for an unknown role, a size the source cannot give, or a count larger than the number of images
                that exist.
            MissingError, ArtifactError: for a file that is absent, or is not the published one.
        """
        check_request(self.name, counts, seed)
        from_test, proportional = self._roles("from_test"), self._roles("proportional")
        supply.check(self.name, asdict(self))
        place, files = supply.place_of(self.name, asdict(self))
        listing = self.listing(place)
        self._refuse_one_class(listing)
        conflicts = Remarks()
        splits = splits_of(
            self.name, listing, size, counts, seed, from_test, folder, conflicts.add, proportional
        )
        notes = [
            *listing.notes,
            *listing.seen(),
            *remarks_on(listing, splits),
            *conflicts.sentences(),
        ]
        for note in notes:
            print(f"{self.name}: {note}", file=sys.stderr)
        card = make_card(
            name=self.name,
            version=catalogue.lookup("datasets", self.name, "the data set").version,
            size=size,
            seed=seed,
            synthetic=False,
            sources=self._sources(files),
            rule=self._rule(listing),
            classes=listing.classes,
            splits=splits,
            sharing=supply.sharing_of(self.name, asdict(self)),
            **self._described(notes),
        )
        return Prepared(self.name, size, tuple(listing.classes), splits, card)

    def _roles(self, parameter: str) -> tuple[str, ...]:
        """Return the roles that a parameter names, none for a data set that does not have it."""
        roles: tuple[str, ...] = getattr(self, parameter, ())
        unknown = [role for role in roles if role not in ROLES]
        if unknown:
            raise ValueError(
                f"{self.name}: {parameter}: unknown role '{unknown[0]}': roles are {', '.join(ROLES)}"
            )
        return roles

    def _rule(self, listing: Listing) -> str:
        """Return how images were dealt, in sentences."""
        rule = RULE
        if listing.tested is not None:
            rule += f" Of the official test part: {', '.join(self._roles('from_test'))}."
        if self._roles("proportional"):
            rule += f" In the source's shares of classes: {', '.join(self._roles('proportional'))}."
        return rule

    def _refuse_one_class(self, listing: Listing) -> None:
        present = np.unique(listing.labels)
        if len(present) < 2:
            raise ValueError(
                f"{self.name}: all pictures are of one class, {listing.classes[present[0]]!r}; two are needed. Are the "
                "class folders one level deeper?"
            )

    def _described(self, notes: list[str]) -> dict[str, str]:
        """Return the origin's entries of the data card, and the notes about the images."""
        assert self.origin is not None, "a data set that is supplied states its origin"
        limits = [self.origin.limits, *(f"{note.rstrip('.')}." for note in notes)]
        return {"description": self.origin.description, "limits": " ".join(limits)}

    def _sources(self, files: tuple[File, ...]) -> list[dict[str, Any]]:
        assert self.origin is not None, "a data set that is supplied states its origin"
        source, licence = self.origin.source, self.origin.licence
        return [
            {
                "name": file.path,
                "origin": source,
                "licence": licence,
                "digest": file.digest or "none is published",
            }
            for file in files
        ]
