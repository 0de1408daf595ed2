"""A broken method of another distribution is one sentence where it is used, and nothing else breaks."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from distributions import ADDED, GOOD, QUICK, STUDY, distribution

from gradsiege import catalogue
from gradsiege.catalogue import entries, lookup, refused
from gradsiege.errors import StudyError, UsageError
from gradsiege.inspection.checkup import added_methods, other_data
from gradsiege.study import load

BROKEN = {
    "no version": (GOOD.replace("VERSION = 1", "x = 1"), "declares no VERSION"),
    "no number": (GOOD.replace("VERSION = 1", "VERSION = '1.0'"), "make it a whole number"),
    "no class": (GOOD.replace("class Added", "class Other"), "defines no dataclass Added"),
    "no dataclass": (GOOD.replace("@dataclass(frozen=True)", ""), "defines no dataclass Added"),
    "another name": (GOOD.replace('"added"', '"else"'), "the `name` of Added is 'else'"),
    "no Python": ("VERSION = = 1", "invalid syntax"),
    "no literal": (
        GOOD.replace("VERSION = 1", "VERSION = one()"),
        r"VERSION is the expression one\(\)",
    ),
    "a computed default": (
        f"{GOOD}        x: Share = 1 / 2\n",
        "the default of x is the expression 1 / 2; write its value as a literal",
    ),
    "a number without a range": (
        f"{GOOD}        x: float | None = 0.5\n",
        "the parameter x is a number without a range",
    ),
    "not frozen": (GOOD.replace("frozen=True", ""), "Added is not frozen"),
    "no range": (f"{GOOD}        x: list[int] = None\n", r"unsupported .* annotation: list\[int\]"),
}


@pytest.mark.parametrize("why", BROKEN)
def test_a_broken_one_is_a_sentence_where_it_is_used_or_listed(
    why: str,
    tmp_path: Path,
    install: Callable[[Path], None],
    verb: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, sentence = BROKEN[why]
    distribution(tmp_path, "my-defense", source=source)
    before = list(entries("defenses"))
    install(tmp_path)
    with pytest.raises(StudyError, match=f"defenses.x: added of .* my-defense 1.5 .*{sentence}"):
        lookup("defenses", "added", "defenses.x")
    assert list(entries("defenses")) == before
    assert lookup("defenses", "gaussian", "here").name == "gaussian"
    assert verb("list", "defenses") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == refused("defenses")["added"]


COUNTER = '''
    """Counters."""
    VERSION = 1
    def undone(plan: AttackPlan) -> AttackPlan:
        """Do nothing."""
        return plan
'''


@pytest.mark.parametrize(
    ("name", "source", "sentence"),
    [
        (
            "gausian",
            COUNTER,
            "the defense 'gausian', which no package offers; did you mean 'gaussian'",
        ),
        (
            "gaussian",
            COUNTER.replace(" -> AttackPlan", ""),
            "no public function whose return annotation is AttackPlan",
        ),
    ],
)
def test_counters_that_answer_nothing_are_refused(
    name: str, source: str, sentence: str, tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-counters", f"{name} = added.method", source)
    points = next(tmp_path.glob("*.dist-info")) / "entry_points.txt"
    points.write_text(points.read_text().replace("gradsiege.defenses", "gradsiege.counters"))
    install(tmp_path)
    assert sentence in refused("counters")[name]


@pytest.mark.parametrize("name", ["my half", "my/half", "half.doubled"])
def test_a_name_that_cannot_stand_in_ids_is_refused(
    name: str, tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-defense", f"{name} = added.method:Added")
    install(tmp_path)
    assert (
        f"the name {name!r} of its entry point is not made of letters" in refused("defenses")[name]
    )
    assert name not in entries("defenses")


def test_doctor_names_what_is_broken_and_what_the_study_uses(
    site: Path, tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-defense", source=GOOD.replace("VERSION = 1", ""))
    assert added_methods(load(QUICK)) == []
    install(site)
    install(tmp_path)
    rows = dict(added_methods(load(STUDY)))
    assert "my-defense 1.5 cannot be used" in rows["added"]
    assert rows["half"] == "of gradsiege-example 0.1.0, used by the study (defenses)"
    assert set(rows) == {"added", *ADDED.values()}


def test_a_module_without_a_source_file_is_refused(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-defense", "added = added.compiled:Added")
    install(tmp_path)
    with pytest.raises(StudyError, match=r"module added\.compiled has no source file"):
        lookup("defenses", "added", "here")


def test_one_that_cannot_be_imported_is_planned_and_named_when_it_runs(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-defense", source=f"{GOOD}    import not_there\n")
    install(tmp_path)
    with pytest.raises(
        UsageError, match=r"added of .* my-defense 1\.5 .*No module named 'not_there'"
    ):
        catalogue.implementation(lookup("defenses", "added", "here"))
    importlib.invalidate_caches()


def test_doctor_goes_on_where_a_data_set_cannot_be_imported(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    source = GOOD.replace("defenses.base import Defense", "datasets.base import Dataset")
    distribution(
        tmp_path,
        "my-data",
        source=source.replace("(Defense)", "(Dataset)") + "    import not_there\n",
    )
    points = next(tmp_path.glob("*.dist-info")) / "entry_points.txt"
    points.write_text(points.read_text().replace("gradsiege.defenses", "gradsiege.datasets"))
    install(tmp_path)
    rows = dict(other_data(load(QUICK)))
    assert "No module named 'not_there'" in rows["added"]
    assert len(rows) > 10


def test_a_name_of_ours_is_refused_and_both_distributions_are_named(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    source = GOOD.replace('"added"', '"gaussian"')
    distribution(tmp_path, "my-defense", "gaussian = added.method:Added", source)
    install(tmp_path)
    with pytest.raises(StudyError, match=r"in the distributions gradsiege and my-defense 1\.5;"):
        lookup("defenses", "gaussian", "here")
    assert not entries("defenses")["gaussian"].distribution, "what is ours stays ours in Python"


def test_a_name_of_two_distributions_is_refused_and_both_are_named(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-defense")
    distribution(tmp_path, "your-defense")
    install(tmp_path)
    with pytest.raises(StudyError, match=r"distributions my-defense 1\.5 and your-defense 1\.5"):
        lookup("defenses", "added", "here")
    assert "added" not in entries("defenses")
