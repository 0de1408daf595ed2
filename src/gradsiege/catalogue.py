"""What can stand in a study file, read from the sources of the methods themselves.

A method is one module in a folder of its kind, or a package there. It declares, as plain literals, ``VERSION`` (raised when
its science changes), optionally ``ARMS``, ``REQUIRES`` and ``USES`` (what a threat model may grant and need not), what it asks of the
side of an image (``SIDE_MULTIPLE``: a number, or the parameter that holds it; ``SIDE_LEAST``) and of the number of images that it
learns from (``LEAST_IMAGES``), and a dataclass ``Parameters`` whose annotations are ranges (`gradsiege.ranges`). A module of counters
holds several, one function each, which share ``VERSION`` and ``REQUIRES``. The catalogue reads these with `ast` instead of importing the module, so that checking a study file or planning
ten thousand cells costs milliseconds and loads no torch.
"""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal

from gradsiege import ranges
from gradsiege.errors import StudyError, nearest

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
SCALARS: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
REQUIRED = object()
HERE = Path(__file__).parent
# Bases of the dataclasses whose fields are parameters.
BASES = ("Defense", "Attack", "Learned", "Model", "Prior", "Dataset")
LITERALS = (
    "VERSION",
    "ARMS",
    "REQUIRES",
    "USES",
    "SIDE_MULTIPLE",
    "SIDE_LEAST",
    "LEAST_IMAGES",
    "OBTAINED",
)


@dataclass(frozen=True)
class Entry:
    """One method: where it lives, its version, and the parameters a study file may set."""

    kind: str
    name: str
    folder: str
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
    method: str = ""

    @property
    def module(self) -> str:
        """Dotted name of the module that implements the method."""
        return f"gradsiege.{self.folder.replace('/', '.')}.{self.name.partition('.')[0]}"

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
            if key not in given and default is REQUIRED:
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


def _annotation(node: ast.expr) -> Any:
    """Turn the annotation of a parameter into a type: scalars, ranges, unions with None, Literal, tuples."""
    if isinstance(node, ast.Constant) and node.value is None:
        return type(None)
    if isinstance(node, ast.Name):
        return SCALARS[node.id] if node.id in SCALARS else ranges.ALIASES[node.id]
    if isinstance(node, ast.BinOp):
        return _annotation(node.left) | _annotation(node.right)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        if node.value.id == "Literal":
            return Literal.__getitem__(ast.literal_eval(node.slice))
        if node.value.id == "tuple" and isinstance(node.slice, ast.Tuple):
            return GenericAlias(tuple, (_annotation(node.slice.elts[0]), ...))
        if node.value.id == "Annotated" and isinstance(node.slice, ast.Tuple):
            plain, *rules = node.slice.elts
            return Annotated.__class_getitem__(  # type: ignore[attr-defined]
                (_annotation(plain), *(_rule(rule) for rule in rules))
            )
    raise TypeError(f"unsupported parameter annotation: {ast.unparse(node)}")


def _rule(node: ast.expr) -> Any:
    """Turn one rule of an annotation, such as ``Range(0, 1)``, into what it is."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise TypeError(f"unsupported rule of a parameter: {ast.unparse(node)}")
    named = {key.arg or "": ast.literal_eval(key.value) for key in node.keywords}
    return ranges.RULES[node.func.id](*map(ast.literal_eval, node.args), **named)


def _method(body: list[ast.stmt]) -> ast.ClassDef | None:
    """Return the dataclass whose fields are the method's parameters: the one that derives from a base of `BASES`."""
    for statement in body:
        if isinstance(statement, ast.ClassDef) and statement.decorator_list:
            bases = [base.id for base in statement.bases if isinstance(base, ast.Name)]
            if set(bases) & set(BASES):
                return statement
    return None


def _parameters(method: ast.ClassDef | None) -> dict[str, tuple[Any, Any]]:
    """Return (type, default) of every field but the arm and those that are handed over (`ranges.given`)."""
    return {
        item.target.id: (
            _annotation(item.annotation),
            REQUIRED if item.value is None else ast.literal_eval(item.value),
        )
        for item in (method.body if method else ())
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and item.target.id != "arm"
        and not isinstance(item.value, ast.Call)
    }


def _literals(body: list[ast.stmt]) -> dict[str, Any]:
    found = {}
    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if name in LITERALS:
                found[name] = ast.literal_eval(statement.value)
    return found


def _name(path: Path) -> str:
    """Return the name of a module or, of an `__init__`, that of its package."""
    return path.parent.name if path.stem == "__init__" else path.stem


def _files(folder: Path) -> list[Path]:
    """Return the modules of a folder and the `__init__` of its packages."""
    modules = (path for path in folder.glob("*.py") if path.stem != "__init__")
    return [*modules, *folder.glob("*/__init__.py")]


def _read(kind: str, path: Path) -> Entry | None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    literals = _literals(tree.body)
    if "VERSION" not in literals:
        return None
    summary = (ast.get_docstring(tree) or "").split("\n")[0]
    method = _method(tree.body)
    return Entry(
        kind=kind,
        name=_name(path),
        folder=next((one for one in KINDS[kind] if HERE / one in path.parents), KINDS[kind][0]),
        version=literals["VERSION"],
        summary=summary,
        arms=tuple(literals.get("ARMS", ("faithful",))),
        requires=tuple(literals.get("REQUIRES", ())),
        uses=tuple(literals.get("USES", ())),
        parameters=_parameters(method),
        method=method.name if method else "",
        side_multiple=literals.get("SIDE_MULTIPLE", 1),
        side_least=literals.get("SIDE_LEAST", 1),
        least_images=literals.get("LEAST_IMAGES", 1),
        obtained=literals.get("OBTAINED", "supplied"),
    )


def _ideas(path: Path) -> list[Entry]:
    """Return a counter for every public function of a module that returns an `AttackPlan`, ``<module>.<function>``."""
    module = _read("counters", path)
    if module is None:
        return []
    return [
        replace(
            module,
            name=f"{module.name}.{statement.name}",
            summary=(ast.get_docstring(statement) or "").split("\n")[0],
        )
        for statement in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.FunctionDef)
        and not statement.name.startswith("_")
        and isinstance(statement.returns, ast.Name)
        and statement.returns.id == "AttackPlan"
    ]


@cache
def entries(kind: str) -> dict[str, Entry]:
    """Return every method of a kind by name, in alphabetical order."""
    if kind not in KINDS:
        raise StudyError(f"unknown kind {kind!r}; {nearest(kind, list(KINDS))}")
    paths = sorted((path for one in KINDS[kind] for path in _files(HERE / one)), key=_name)
    if kind == "counters":
        return {entry.name: entry for path in paths for entry in _ideas(path)}
    read = (_read(kind, path) for path in paths)
    return {entry.name: entry for entry in read if entry is not None}


def lookup(kind: str, name: str, place: str) -> Entry:
    """Return one entry, or an error that names `place` and the nearest known name."""
    known = entries(kind)
    if name not in known:
        raise StudyError(f"{place}: unknown name {name!r} in {kind}; {nearest(name, list(known))}")
    return known[name]


def implementation(entry: Entry) -> Any:
    """Import and return the dataclass of a method."""
    return getattr(importlib.import_module(entry.module), entry.method)


def classes(kind: str) -> list[str]:
    """Return the names of the dataclasses of a kind, for those who work in Python."""
    return sorted(entry.method for entry in entries(kind).values())


def attribute(kind: str, name: str) -> Any:
    """Return the dataclass of that name, as an attribute of the package of its kind.

    Raises:
        AttributeError: there is none; it names the nearest.
    """
    for entry in entries(kind).values():
        if entry.method == name:
            return implementation(entry)
    raise AttributeError(f"{kind} has no {name!r}; {nearest(name, classes(kind))}")
