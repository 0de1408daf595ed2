"""Every public function on tensors says what shapes it takes, shows an example, or names the source of its formula."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from documented import Function, tensor_functions

from gradsiege import catalogue

PACKAGE = Path(__file__).parents[1] / "src" / "gradsiege"


def test_public_tensor_functions_are_documented() -> None:
    functions = list(tensor_functions(PACKAGE))
    assert len(functions) > 500, "the count covers the package"
    silent = [
        f"{function.file.relative_to(PACKAGE)}:{function.line} {function.name}"
        for function in functions
        if not function.says_enough
    ]
    assert silent == [], "give shapes such as ``[n, c, h, w]``, a tiny example, or the source"


@pytest.mark.parametrize(
    ("text", "enough"),
    [
        ("Return logits.", False),
        ("Return images in [0, 1].", False),
        ("Return logits ``[n, classes]``.", True),
        ("Return a tensor of the parameter's shape.", True),
        ("Return x.\n\n>>> f(1)\n2", True),
        ("The loss of Petsiuk et al.", True),
        ("Equation 3 of the paper: Eq. 3.", True),
        ("The released code (GIFD, 2023) does this.", True),
    ],
)
def test_what_counts_as_documented(text: str, enough: bool) -> None:
    assert Function(Path("x.py"), 1, "f", text).says_enough == enough


def test_every_parameter_of_a_method_is_described() -> None:
    """In the docstring of its class, as ``name:`` or in a list of names that ends so."""
    methods = [
        catalogue.implementation(entry)
        for kind in ("datasets", "models", "priors", "defenses", "attacks")
        for entry in catalogue.entries(kind).values()
    ]
    named = [(method, field.name) for method in methods for field in fields(method)]
    own = [(method, name) for method, name in named if name in method.__annotations__]
    assert len(own) > 100, "the count covers the catalogue"
    silent = [
        f"{method.__name__}.{name}"
        for method, name in own
        if not re.search(rf"^ *(\w+, )*{name}(, \w+)*: ", method.__doc__, re.MULTILINE)
        and f"`{name}`" not in method.__doc__
    ]
    assert silent == [], "give it a line under Attributes: what it is, its unit or range"


def test_private_functions_and_others_are_not_counted(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(
        "def _f(x: Tensor): ...\ndef g(x: int): ...\nclass A:\n    def h(self) -> Tensor: ...\n"
        "class _B:\n    def h(self) -> Tensor: ...\n"
    )
    assert [function.name for function in tensor_functions(tmp_path)] == ["A.h"]
