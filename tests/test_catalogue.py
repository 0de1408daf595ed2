"""The catalogue reads the methods' sources without importing them, and agrees with what an import finds."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gradsiege import catalogue
from gradsiege.attacks.base import Attack
from gradsiege.catalogue import KINDS, Entry, entries, lookup
from gradsiege.declarations import REQUIRED
from gradsiege.errors import StudyError
from gradsiege.ranges import is_given

EVERY = [(kind, name) for kind in KINDS for name in entries(kind)]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_an_entry_is_what_its_module_declares(kind: str, name: str) -> None:
    entry = entries(kind)[name]
    module = importlib.import_module(entry.module)
    assert entry.version == module.VERSION
    assert entry.arms == tuple(getattr(module, "ARMS", ("faithful",)))
    assert entry.requires == tuple(getattr(module, "REQUIRES", ()))
    assert entry.summary
    if entry.method:
        made = catalogue.implementation(entry)
        assert made.name == entry.name
        # What every attack has stands in a study file beside its parameters.
        every = dataclasses.fields(Attack) if kind == "attacks" else ()
        shared = {"arm", *(field.name for field in every)}
        declared = {
            field.name: field.default
            for field in dataclasses.fields(made)
            if field.name not in shared and not is_given(field)
        }
        found = {key: default for key, (_, default) in entry.parameters.items()}
        assert {key: value for key, value in found.items() if value is not REQUIRED} == {
            key: value for key, value in declared.items() if value is not dataclasses.MISSING
        }
        assert set(found) == set(declared)
    else:
        assert not entry.parameters


def entry_of(tmp_path: Path, source: str) -> Entry | None:
    path = tmp_path / "method.py"
    path.write_text(dedent(source))
    return next(iter(catalogue._read("defenses", path, "mine.method")), None)


def test_parameters_of_every_supported_type(tmp_path: Path) -> None:
    entry = entry_of(
        tmp_path,
        '''
        """One line.

        More."""
        VERSION = 3
        ARMS = ("faithful", "as_released")
        REQUIRES = ("labels",)

        @dataclass
        class Method(Defense):
            must: int
            rate: float = 0.5
            maybe: float | None = None
            mode: Literal["a", "b"] = "a"
            sizes: tuple[int, ...] = (1, 2)
        ''',
    )
    assert entry is not None
    assert (entry.name, entry.version, entry.summary) == ("method", 3, "One line.")
    good = {"must": 1, "maybe": 2, "mode": "b", "sizes": [3]}
    assert entry.validate(good, "here") == {
        "must": 1,
        "rate": 0.5,
        "maybe": 2.0,
        "mode": "b",
        "sizes": (3,),
    }
    bad: list[tuple[dict[str, Any], str]] = [
        ({}, "here: parameter 'must' of method is missing"),
        ({"must": 1, "rte": 1}, "here: method has no parameter 'rte'; did you mean 'rate'?"),
        ({"must": "x"}, "parameter 'must' of method must be a whole number, not 'x'"),
        ({"must": 1, "mode": "c"}, "parameter 'mode' of method must be one of a, b, not 'c'"),
        ({"must": 1, "rate": float("nan")}, "parameter 'rate' of method must be a number, not nan"),
        (
            {"must": 1, "sizes": ["x"]},
            "parameter 'sizes' of method must be a list, each a whole number, not ['x']",
        ),
    ]
    for given, message in bad:
        with pytest.raises(StudyError, match=re.escape(message)):
            entry.validate(given, "here")


def test_a_module_without_a_version_is_no_method(tmp_path: Path) -> None:
    assert entry_of(tmp_path, '"""A helper."""\nx = 1\n') is None


def test_a_module_of_counters_holds_an_entry_for_every_idea(tmp_path: Path) -> None:
    path = tmp_path / "half.py"
    path.write_text(
        dedent(
            '''
            """The defense called half."""
            VERSION = 2
            REQUIRES = ("disclosure", "protocol")

            def helper(value: float) -> float:
                """No idea."""

            def double(attempt: AttackPlan) -> AttackPlan:
                """Double it.

                More."""

            def drop(attempt: AttackPlan) -> AttackPlan:
                """Drop it."""

            def _private(attempt: AttackPlan) -> AttackPlan:
                """Not for study files."""
            '''
        )
    )
    double, drop = catalogue._read("counters", path, "gradsiege.attacks.counters.half")
    assert (double.name, double.summary, double.version) == ("half.double", "Double it.", 2)
    assert (drop.name, drop.summary) == ("half.drop", "Drop it.")
    assert double.requires == ("disclosure", "protocol")
    assert double.module == "gradsiege.attacks.counters.half"


def test_every_counter_is_a_function_that_needs_the_disclosure() -> None:
    found = entries("counters")
    assert found
    for name, entry in found.items():
        assert callable(getattr(importlib.import_module(entry.module), name.partition(".")[2]))
        assert "disclosure" in entry.requires


def test_an_unsupported_annotation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"unsupported parameter annotation: list\[int\]"):
        entry_of(
            tmp_path,
            '"""X."""\nVERSION = 1\n@dataclass\nclass Method(Defense):\n    x: list[int] = None\n',
        )


def test_a_method_without_parameters_says_so() -> None:
    with pytest.raises(StudyError, match="there is none to choose from"):
        lookup("defenses", "none", "here").validate({"x": 1}, "here")


def test_unknown_names_and_kinds_suggest_the_nearest() -> None:
    with pytest.raises(StudyError, match=r"defenses\.x: unknown name 'gausian' .* 'gaussian'"):
        lookup("defenses", "gausian", "defenses.x")
    with pytest.raises(StudyError, match="unknown kind 'atacks'; did you mean 'attacks'"):
        entries("atacks")
