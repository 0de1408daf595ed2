"""Methods that another distribution adds by entry points: who adds what, and where its source lies. Nothing is imported.

A distribution names its methods in groups called after their kinds, such as ``gradsiege.defenses``:

    [project.entry-points."gradsiege.defenses"]
    half = "package.module:Half"
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

GROUP = "gradsiege"


@dataclass(frozen=True, order=True)
class Plugin:
    """One entry point.

    Attributes:
        kind: of the method, such as ``defenses``.
        name: what a study file calls it; of counters, the defense that they answer.
        module: dotted name of the module that defines it.
        method: name of its class there; empty where a module holds functions.
        distribution, release: what was installed, as package indexes write its name, and its version.
    """

    kind: str
    name: str
    module: str
    method: str
    distribution: str
    release: str

    @property
    def source(self) -> Path:
        """The file of the module.

        Raises:
            ValueError: there is none that can be read.
        """
        top, *inner = self.module.split(".")
        spec = importlib.util.find_spec(top)
        places = [
            Path(folder, *inner) for folder in (spec and spec.submodule_search_locations) or ()
        ]
        files = [
            file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")
        ]
        if spec and spec.origin and not inner:
            files.append(Path(spec.origin))
        source = next((file for file in files if file.suffix == ".py" and file.is_file()), None)
        if source is None:
            raise ValueError(
                f"the module {self.module} has no source file, and methods are read from their sources"
            )
        return source


def installed(kind: str) -> list[Plugin]:
    """Return what installed distributions add to a kind, by name."""
    return sorted(
        Plugin(kind, point.name, point.module, point.attr, *_owner(point))
        for point in metadata.entry_points(group=f"{GROUP}.{kind}")
    )


def _owner(point: metadata.EntryPoint) -> tuple[str, str]:
    """Return (distribution, version) of an entry point.

    A name may be written in several ways; digests hold the normalised one.
    """
    assert point.dist is not None, "an installed entry point belongs to a distribution"
    return re.sub(r"[-_.]+", "-", point.dist.name).lower(), point.dist.version
