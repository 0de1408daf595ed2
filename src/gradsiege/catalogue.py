"""What can stand in a study file, read from the sources of the methods themselves.

A method is one module in a folder of its kind, a package there, or a class that another distribution adds by an entry point
(`gradsiege.plugins`). It declares, as plain literals, ``VERSION`` (raised when its science changes), optionally ``ARMS``,
``REQUIRES`` and ``USES`` (what a threat model may grant and need not), what it asks of the side of an image
(``SIDE_MULTIPLE``: a number, or the parameter that holds it; ``SIDE_LEAST``) and of the number of images that it learns from
(``LEAST_IMAGES``), how a data set is ``OBTAINED``, the ``OWN_COLUMNS`` of a figure, the keys of every attack that are ``UNUSED``
by one, and a frozen dataclass whose annotations are ranges (`gradsiege.ranges`). A
module of counters holds several, one function each, which share ``VERSION``, ``REQUIRES`` and ``WEIGHTS`` (parameters of an attack
without which they can do nothing). The catalogue reads these with
`ast` instead of importing the module, so that checking a study file or planning ten thousand cells costs milliseconds and
loads no torch.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from gradsiege import declarations, plugins, ranges
from gradsiege.errors import StudyError, UsageError, nearest
from gradsiege.plugins import Plugin

SECTIONS = {
    "dataset": "datasets",
    "model": "models",
    "defense": "defenses",
    "protocol": "protocols",
    "threat_model": "threat_models",
    "attack": "attacks",
    "prior": "priors",
}

# By kind, the folders of its methods.
KINDS: dict[str, tuple[str, ...]] = {
    "datasets": ("datasets",),
    "models": ("models",),
    "priors": ("priors",),
    "defenses": ("defenses",),
    "attacks": ("attacks/recipes",),
    "counters": ("attacks/counters",),
    "figures": ("report/figures", "report/tables"),
}
HERE = Path(__file__).parent
# The first part of the name of counters that answer every defense.
ANY = "generic"
# Names of added methods: they stand in ids and folders, and a point parts a defense from its counter.
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Entry:
    """One method: where it lives, its version, and the parameters a study file may set.

    Attributes:
        columns: of a figure, the columns of its data that no other figure has (``OWN_COLUMNS``): meaning, unit, values, n.
        module, method: dotted name of the module that implements it, and of its class there; a counter is a function.
        by_name: a counter that a study file must name in full, since the bare name of its defense leaves it out (``BY_NAME``).
        weights: of a counter, parameters that its attack must have, and not zero (``WEIGHTS``).
        distribution, release: name and version of the distribution that adds it; empty for what belongs to this one.
    """

    kind: str
    name: str
    module: str
    version: int
    summary: str
    arms: tuple[str, ...] = ("faithful",)
    requires: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    parameters: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    side_multiple: int | str = 1
    side_least: int = 1
    least_images: int = 1
    obtained: str = "supplied"
    unused: tuple[str, ...] = ()
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    method: str = ""
    by_name: bool = False
    weights: tuple[str, ...] = ()
    distribution: str = ""
    release: str = ""

    @property
    def owner(self) -> str:
        """The distribution that the method belongs to, with its version if that is another one."""
        return f"{self.distribution} {self.release}" if self.distribution else "gradsiege"

    def validate(self, given: dict[str, Any], place: str) -> dict[str, Any]:
        """Return all parameters with defaults filled in, or say which key or value is wrong."""
        for key in given:
            if key not in self.parameters:
                raise StudyError(
                    f"{place}: {self.name} has no parameter {key!r}; "
                    + nearest(key, list(self.parameters))
                )
        values = {}
        for key, (kind, default) in self.parameters.items():
            if key not in given and default is declarations.REQUIRED:
                raise StudyError(f"{place}: parameter {key!r} of {self.name} is missing")
            try:
                # A default stays as it is declared.
                values[key] = (
                    ranges.fitted(given[key], kind, written=True) if key in given else default
                )
            except ValueError as error:
                raise StudyError(f"{place}: parameter {key!r} of {self.name} {error}") from None
        kinds = {key: kind for key, (kind, _) in self.parameters.items()}
        wrong = ranges.contradiction(values, kinds)
        if wrong:
            raise StudyError(f"{place}: parameter {wrong[0]!r} of {self.name} {wrong[1]}")
        return values

    def refused_side(self, size: int, parameters: dict[str, Any]) -> str:
        """Return why the method cannot work on square images of `size` pixels, or an empty string."""
        step = (
            parameters[self.side_multiple]
            if isinstance(self.side_multiple, str)
            else self.side_multiple
        )
        if size < self.side_least:
            return f"{self.name} needs images of at least {self.side_least} px, not {size}"
        if size % step:
            return f"{self.name} needs a size that is a multiple of {step}, not {size} px"
        return ""


def _name(path: Path) -> str:
    """Return the name of a module or, of an `__init__`, that of its package."""
    return path.parent.name if path.stem == "__init__" else path.stem


def _files(folder: Path) -> list[Path]:
    """Return the modules of a folder and the `__init__` of its packages."""
    modules = (path for path in folder.glob("*.py") if path.stem != "__init__")
    return [*modules, *folder.glob("*/__init__.py")]


def _read(kind: str, path: Path, module: str, called: str = "") -> list[Entry]:
    """Return the methods that a module declares; none without a ``VERSION``. Its class may be `called` something."""
    tree = declarations.read(path)
    declared = declarations.literals(tree)
    if "VERSION" not in declared:
        return []
    method = declarations.method(tree, called)
    whole = Entry(
        kind=kind,
        name=module.rpartition(".")[2],
        module=module,
        version=declared["VERSION"],
        summary=declarations.summary(tree),
        arms=tuple(declared.get("ARMS", ("faithful",))),
        requires=tuple(declared.get("REQUIRES", ())),
        uses=tuple(declared.get("USES", ())),
        parameters=declarations.parameters(method) if method else {},
        method=method.name if method else "",
        side_multiple=declared.get("SIDE_MULTIPLE", 1),
        side_least=declared.get("SIDE_LEAST", 1),
        least_images=declared.get("LEAST_IMAGES", 1),
        obtained=declared.get("OBTAINED", "supplied"),
        unused=tuple(declared.get("UNUSED", ())),
        columns=declared.get("OWN_COLUMNS", {}),
        weights=tuple(declared.get("WEIGHTS", ())),
    )
    if kind != "counters":
        return [whole]
    return [
        replace(
            whole,
            name=f"{whole.name}.{idea.name}",
            summary=declarations.summary(idea),
            by_name=idea.name in declared.get("BY_NAME", ()),
        )
        for idea in declarations.functions(tree, "AttackPlan")
    ]


def _built_in(kind: str) -> list[Entry]:
    """Return the methods of this distribution, by the names of their modules."""
    places = [
        (path, f"gradsiege.{folder.replace('/', '.')}.{_name(path)}")
        for folder in KINDS[kind]
        for path in _files(HERE / folder)
    ]
    by_name = sorted(places, key=lambda place: _name(place[0]))
    return [entry for path, module in by_name for entry in _read(kind, path, module)]


def _plugged_in(plugin: Plugin) -> list[Entry]:
    """Return what an entry point adds.

    Raises:
        ValueError, TypeError, SyntaxError, OSError: its source does not declare what a method declares.
    """
    if not NAME.fullmatch(plugin.name):
        raise ValueError(
            f"the name {plugin.name!r} of its entry point is not made of letters, digits, _ and -; rename it"
        )
    source = plugin.source
    if plugin.kind == "counters":
        _refuse_counters_of_nothing(plugin, source)
    read = _read(plugin.kind, source, plugin.module, plugin.method)
    if not read:
        raise ValueError(f"{plugin.module} declares no VERSION; write VERSION = 1")
    if type(read[0].version) is not int:
        raise ValueError(f"VERSION is {read[0].version!r}; make it a whole number")
    for name, (kind, _) in read[0].parameters.items():
        if ranges.unbounded(kind):
            raise ValueError(
                f"the parameter {name} is a number without a range; annotate it with an alias of "
                "gradsiege.ranges, such as Share, or with a Range of its own"
            )
    _refuse_wrong_columns(read[0].columns)
    if plugin.kind == "counters":
        names = [f"{plugin.name}.{entry.name.rpartition('.')[2]}" for entry in read]
    else:
        _refuse_wrong_class(plugin, source)
        names = [plugin.name]
    return [
        replace(entry, name=name, distribution=plugin.distribution, release=plugin.release)
        for entry, name in zip(read, names, strict=True)
    ]


def _refuse_counters_of_nothing(plugin: Plugin, source: Path) -> None:
    """Refuse counters to a defense that is not there, and a module without a counter."""
    known = entries("defenses")
    if plugin.name not in known:
        raise ValueError(
            f"it counters the defense {plugin.name!r}, which no package offers; {nearest(plugin.name, list(known))}"
        )
    if not declarations.functions(declarations.read(source), "AttackPlan"):
        raise ValueError(
            f"{plugin.module} holds no public function whose return annotation is AttackPlan; annotate its counters"
        )


def _refuse_wrong_columns(columns: Any) -> None:
    """Refuse columns of a figure that are not described in words."""
    described = columns.values() if isinstance(columns, dict) else [None]
    for about in described:
        words = about if isinstance(about, dict) else {}
        if "meaning" not in words or not set(words) <= {"meaning", "unit", "values", "n"}:
            raise ValueError(
                f"OWN_COLUMNS holds {about!r}; give each column a dictionary with its meaning, for a quantity its unit, and if "
                "need be values and n"
            )


def _refuse_wrong_class(plugin: Plugin, source: Path) -> None:
    """Refuse an entry point whose class is not in its module, or calls itself something else."""
    if plugin.kind == "figures":
        return
    method = declarations.method(declarations.read(source), plugin.method)
    if method is None:
        raise ValueError(
            f"{plugin.module} defines no dataclass {plugin.method or 'of this kind'}; name the module that defines it"
        )
    if not declarations.is_frozen(method):
        raise ValueError(f"{method.name} is not frozen; decorate it with @dataclass(frozen=True)")
    called = declarations.name_of(method)
    if called != plugin.name:
        raise ValueError(
            f"the entry point is called {plugin.name!r} and the `name` of {method.name} is {called!r}; make them one"
        )


@cache
def _known(kind: str) -> tuple[dict[str, Entry], dict[str, str]]:
    """Return (methods by name, sentences by name on those that cannot be used)."""
    known, refused = {entry.name: entry for entry in _built_in(kind)}, dict[str, str]()
    for plugin in plugins.installed(kind):
        place = f"{plugin.name} of the distribution {plugin.distribution} {plugin.release}"
        try:
            added = _plugged_in(plugin)
        except (ValueError, TypeError, SyntaxError, OSError) as error:
            refused[plugin.name] = f"{place} cannot be used: {error}. Repair or uninstall it"
            continue
        for entry in added:
            other = known.setdefault(entry.name, entry)
            if other is not entry:
                refused[entry.name] = (
                    f"{entry.name} is in the distributions {other.owner} and {entry.owner}; uninstall one of them"
                )
    usable = {
        name: entry
        for name, entry in known.items()
        if name not in refused or not entry.distribution
    }
    return usable, refused


def entries(kind: str) -> dict[str, Entry]:
    """Return every method of a kind by name: those of this distribution, then those of others, each in alphabetical order."""
    if kind not in KINDS:
        raise StudyError(f"unknown kind {kind!r}; {nearest(kind, list(KINDS))}")
    return _known(kind)[0]


def refused(kind: str) -> dict[str, str]:
    """Return, by name, one sentence on every method of another distribution that cannot be used."""
    return _known(kind)[1]


def lookup(kind: str, name: str, place: str) -> Entry:
    """Return one entry, or an error that names `place` and the nearest known name.

    Raises:
        StudyError: the name is unknown, belongs to two distributions, or to one that is broken.
    """
    known, unusable = entries(kind), refused(kind)
    if name in unusable:
        raise StudyError(f"{place}: {unusable[name]}")
    if name not in known:
        # Counters are named after the defense that their module answers.
        why = unusable.get(name.partition(".")[0])
        hint = f"{nearest(name, list(known))}; or install the package that offers it"
        raise StudyError(f"{place}: {why or f'unknown name {name!r} in {kind}; {hint}'}")
    return known[name]


def answers(counter: str, defense: str | None) -> bool:
    """Return whether a counter is an answer to a disclosed defense; `generic` ones are to every defense.

    >>> answers("tip.whitened", "tip"), answers("tip.whitened", "agp"), answers("generic.learned_reliability", "agp")
    (True, False, True)
    """
    answered = counter.partition(".")[0]
    return defense is not None and answered in (defense, ANY)


def module_of(entry: Entry) -> ModuleType:
    """Import and return the module of a method.

    Raises:
        UsageError: it belongs to another distribution, which cannot be imported.
    """
    try:
        return importlib.import_module(entry.module)
    except Exception as error:
        if not entry.distribution:
            raise
        raise UsageError(
            f"{entry.name} of the distribution {entry.owner} cannot be imported: {type(error).__name__}: {error}. "
            "Repair or uninstall it"
        ) from error


def implementation(entry: Entry) -> Any:
    """Import and return the dataclass of a method."""
    return getattr(module_of(entry), entry.method)


def classes(kind: str) -> list[str]:
    """Return the names of this distribution's dataclasses of a kind; those of others are imported from there."""
    return sorted(entry.method for entry in entries(kind).values() if not entry.distribution)


def attribute(kind: str, name: str) -> Any:
    """Return this distribution's dataclass of that name, as an attribute of the package of its kind.

    Raises:
        AttributeError: there is none; it names the nearest.
    """
    for entry in entries(kind).values():
        if entry.method == name and not entry.distribution:
            return implementation(entry)
    raise AttributeError(f"{kind} has no {name!r}; {nearest(name, classes(kind))}")
