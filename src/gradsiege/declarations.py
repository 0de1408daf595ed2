"""What the source of a method declares, read with `ast`: literals, parameters with their ranges, functions."""

from __future__ import annotations

import ast
from operator import getitem
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal

from gradsiege import ranges

SCALARS: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
REQUIRED = object()
# Bases of the dataclasses whose fields are parameters.
BASES = ("Defense", "Attack", "Learned", "Lookup", "Model", "Prior", "Dataset")
LITERALS = (
    *("VERSION", "ARMS", "REQUIRES", "USES"),
    *("BY_NAME", "WEIGHTS"),
    *("SIDE_MULTIPLE", "SIDE_LEAST", "LEAST_IMAGES", "OBTAINED"),
    "UNUSED",
    "OWN_COLUMNS",
)


def read(path: Path) -> ast.Module:
    """Return the syntax tree of a source file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def summary(node: ast.Module | ast.FunctionDef) -> str:
    """Return the first line of a docstring."""
    return (ast.get_docstring(node) or "").split("\n")[0]


def _literal(node: ast.expr, what: str) -> Any:
    """Return the value of a literal.

    Raises:
        ValueError: an expression that only Python can evaluate; it names `what`.
    """
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(
            f"{what} is the expression {ast.unparse(node)}; write its value as a literal"
        ) from None


def literals(tree: ast.Module) -> dict[str, Any]:
    """Return the values of the names in `LITERALS` that a module declares."""
    return {
        statement.targets[0].id: _literal(statement.value, statement.targets[0].id)
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id in LITERALS
    }


def method(tree: ast.Module, called: str = "") -> ast.ClassDef | None:
    """Return the dataclass whose fields are the method's parameters: the one that is `called` so, or has a base of `BASES`."""
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and statement.decorator_list:
            bases = {base.id for base in statement.bases if isinstance(base, ast.Name)}
            if statement.name == called or (not called and bases & set(BASES)):
                return statement
    return None


def is_frozen(method: ast.ClassDef) -> bool:
    """Return whether a class is decorated as a frozen dataclass."""
    return any(
        isinstance(decorator, ast.Call)
        and ast.unparse(decorator.func) in ("dataclass", "dataclasses.dataclass")
        and any(ast.unparse(option) == "frozen=True" for option in decorator.keywords)
        for decorator in method.decorator_list
    )


def name_of(method: ast.ClassDef) -> str:
    """Return the literal that a class assigns to `name`, or an empty string."""
    for item in method.body:
        if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "name":
            return str(_literal(item.value, "name"))
    return ""


def parameters(method: ast.ClassDef) -> dict[str, tuple[Any, Any]]:
    """Return (type, default) of every field but the arm and those that are handed over (`ranges.given`)."""
    return {
        item.target.id: (
            _annotation(item.annotation),
            REQUIRED
            if item.value is None
            else _literal(item.value, f"the default of {item.target.id}"),
        )
        for item in method.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and item.target.id != "arm"
        and not isinstance(item.value, ast.Call)
    }


def functions(tree: ast.Module, result: str) -> list[ast.FunctionDef]:
    """Return the public functions of a module that are annotated to return `result`."""
    return [
        statement
        for statement in tree.body
        if isinstance(statement, ast.FunctionDef)
        and not statement.name.startswith("_")
        and isinstance(statement.returns, ast.Name)
        and statement.returns.id == result
    ]


def _annotation(node: ast.expr) -> Any:
    """Turn the annotation of a parameter into a type: scalars, ranges, unions with None, Literal, tuples."""
    if isinstance(node, ast.Constant) and node.value is None:
        return type(None)
    if isinstance(node, ast.Name) and node.id in SCALARS | ranges.ALIASES:
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
            return getitem(Annotated, (_annotation(plain), *(_rule(rule) for rule in rules)))
    raise TypeError(f"unsupported parameter annotation: {ast.unparse(node)}")


def _rule(node: ast.expr) -> Any:
    """Turn one rule of an annotation, such as ``Range(0, 1)``, into what it is."""
    if not (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ranges.RULES
    ):
        raise TypeError(f"unsupported rule of a parameter: {ast.unparse(node)}")
    what = f"an end of {ast.unparse(node)}"
    named = {key.arg or "": _literal(key.value, what) for key in node.keywords}
    return ranges.RULES[node.func.id](*(_literal(value, what) for value in node.args), **named)
