"""Which public tensor functions say what shapes they take, or show an example, or name their source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# `[n, c, h, w]`, `[victims]`, or words about a shape or about a single number; a range such as [0, 1] is none.
SHAPE = re.compile(r"\[[^\[\]\n]*[A-Za-z][^\[\]\n]*\]|\b(?:shaped?|shapes|scalar|elementwise)\b")
EXAMPLE = re.compile(r"^\s*>>> ", re.MULTILINE)
SOURCE = re.compile(
    r"\bet al\.|\((?:[^()]*\s)?(?:19|20)\d\d\)|\barXiv\b|\b[Ee]q(?:s|\.|uation)\b|\b[Ss]ection \d|\bAlgorithm \d|\bstep \d"
)


@dataclass(frozen=True)
class Function:
    """A public function or method whose signature has tensors, with its docstring."""

    file: Path
    line: int
    name: str
    documentation: str

    @property
    def says_enough(self) -> bool:
        """Whether the docstring has a shape, an example or a source."""
        return any(rule.search(self.documentation) for rule in (SHAPE, EXAMPLE, SOURCE))


def tensor_functions(root: Path) -> Iterator[Function]:
    """Yield every function and method of a package that a caller may use, and whose arguments or result name a tensor."""
    for file in sorted(root.rglob("*.py")):
        yield from _of(ast.parse(file.read_text(encoding="utf-8")), file, "")


def _of(node: ast.Module | ast.ClassDef, file: Path, prefix: str) -> Iterator[Function]:
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from _of(child, file, f"{prefix}{child.name}.")
        if not isinstance(child, ast.FunctionDef) or child.name.startswith("_"):
            continue
        result = ast.unparse(child.returns) if child.returns else ""
        if "Tensor" in ast.unparse(child.args) + result:
            text = ast.get_docstring(child) or ""
            yield Function(file, child.lineno, prefix + child.name, text)
