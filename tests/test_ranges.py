"""Every number of every method and section declares its range, and nothing outside of it gets past the study file or Python."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, get_args, get_origin

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradsiege import catalogue, documents, ranges
from gradsiege.analysis.claims.claim import Claim, Point, Selector
from gradsiege.declarations import REQUIRED
from gradsiege.errors import StudyError
from gradsiege.ranges import AtMost, Checked, Count, MultipleOf, Probability, Range, Share, fitted
from gradsiege.study import Study, load, parse
from gradsiege.study import sections as study_sections

Raw = dict[str, Any]
PARAMETERS = [
    (kind, entry.name, key, annotation, default)
    for kind in catalogue.KINDS
    for entry in catalogue.entries(kind).values()
    for key, (annotation, default) in entry.parameters.items()
]
SECTIONS = [
    *(
        found
        for found in vars(study_sections).values()
        if isinstance(found, type) and issubclass(found, documents.Section)
    ),
    Study,
    Claim,
    Point,
    Selector,
]
# A fixed number that lies outside every range of its kind, and what only looks like a number.
NEVER = [math.nan, math.inf, -math.inf, True, False, "3", "many", [1], {}, 10**400, "1e400"]


def bare_numbers(annotation: Any) -> list[Any]:
    """Numbers within an annotation that no `Range` covers."""
    if annotation in (int, float):
        return [annotation]
    if get_origin(annotation) is Annotated:
        plain, *rules = get_args(annotation)
        covered = any(isinstance(rule, Range) for rule in rules)
        return [] if covered else bare_numbers(plain)
    if str(get_origin(annotation)) == "typing.Literal":
        return []
    return [bare for part in get_args(annotation) for bare in bare_numbers(part)]


def numbers(annotation: Any) -> list[tuple[type, Range]]:
    """Every kind of number within an annotation, with its range."""
    if get_origin(annotation) is Annotated:
        plain, *rules = get_args(annotation)
        own = [(plain, rule) for rule in rules if isinstance(rule, Range)]
        return own or numbers(plain)
    return [found for part in get_args(annotation) for found in numbers(part)]


@pytest.mark.parametrize(
    ("kind", "name", "key", "annotation", "default"),
    PARAMETERS,
    ids=[f"{name}.{key}" for _, name, key, _, _ in PARAMETERS],
)
def test_every_parameter_declares_its_range_and_its_default_lies_in_it(
    kind: str, name: str, key: str, annotation: Any, default: Any
) -> None:
    assert not bare_numbers(annotation)
    if default is not REQUIRED:
        assert fitted(default, annotation) == default


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_number_of_a_section_declares_its_range(section: type[Any]) -> None:
    from typing import get_type_hints

    # Places and values of a sweep name what is checked elsewhere.
    free = {"only", "sweep"}
    for key, annotation in get_type_hints(section, include_extras=True).items():
        assert key in free or not bare_numbers(annotation), key


@pytest.mark.parametrize(
    ("kind", "name"),
    sorted({(kind, name) for kind, name, *_ in PARAMETERS}),
    ids=lambda part: str(part),
)
def test_python_and_the_catalogue_refuse_the_same_values(kind: str, name: str) -> None:
    entry = catalogue.entries(kind)[name]
    made = catalogue.implementation(entry)
    assert issubclass(made, Checked)
    needed = {key: "x" for key, (_, default) in entry.parameters.items() if default is REQUIRED}
    made(**needed)
    for key, (annotation, _) in entry.parameters.items():
        for kind_of, allowed in numbers(annotation):
            listed = get_origin(annotation) is tuple
            for value in [*NEVER, *outside(kind_of, allowed)]:
                wrong = {**needed, key: [value] if listed else value}
                with pytest.raises(StudyError, match=f"{key!r} of {name} must be .*, not "):
                    entry.validate(wrong, "here")
                with pytest.raises(
                    ValueError, match=rf"{kind}\.{made.__name__}: {key} must be .*, not "
                ):
                    made(**wrong)


def outside(kind: type, allowed: Range) -> list[float]:
    """Numbers just outside a range, and far."""
    low = (
        []
        if allowed.low == -math.inf
        else [allowed.low - 1, -1e31, *([allowed.low] * allowed.open_low)]
    )
    high = (
        []
        if allowed.high == math.inf
        else [allowed.high * 2 + 1, 1e31, *([allowed.high] * allowed.open_high)]
    )
    if kind is int:
        return [int(value) for value in [*low, *high]] + [0.5, 3.0]
    return [*low, *high]


SPREAD = {
    "federation.clients": (1, 10**9),
    "federation.rounds": (1, 10**9),
    "victims": (1, 10**9),
    "explained": (0, 10**9),
    "seed": (0, 2**63 - 1),
    "datasets.0.size": (16, 512),
    "datasets.0.counts.train": (1, 10**9),
    "attacks.0.iterations": (1, 10**9),
    "attacks.0.restarts": (1, 10**9),
    "protocols.0.images": (1, 10**9),
    "threat_models.0.rounds": (1, 10**9),
    "federation.learning_rate": (1e-12, 1e6),
    "federation.decay": (0.0, 1.0),
    "federation.alpha": (1e-3, 1e6),
}


def with_value(raw: Raw, path: str, value: Any) -> Raw:
    *way, last = path.split(".")
    raw = yaml.safe_load(yaml.safe_dump(raw))
    raw["protocols"] = [{"name": "fedavg"}]
    here: Any = raw
    for part in way:
        here = here[int(part)] if isinstance(here, list) else here[part]
    here[last] = value
    return raw


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.data())
def test_a_number_of_the_study_outside_its_range_is_named(
    drawn: st.DataObject, tiny_raw: Raw
) -> None:
    path = drawn.draw(st.sampled_from(sorted(SPREAD)))
    low, high = SPREAD[path]
    if isinstance(low, int):
        wrong = st.integers(max_value=low - 1) | st.integers(min_value=int(high) + 1)
        value: Any = drawn.draw(wrong | st.sampled_from([2.5, 3.0, *NEVER]))
    else:
        below = st.floats(max_value=low, exclude_max=True, allow_nan=False)
        above = st.floats(min_value=high, exclude_min=True)
        value = drawn.draw(below | above | st.sampled_from(NEVER))
    with pytest.raises(StudyError) as caught:
        parse(with_value(tiny_raw, path, value))
    said = str(caught.value)
    assert path.rpartition(".")[2] in said
    assert "must be a" in said
    assert f"not {ranges.shown(value)}" in said
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("given_value", "said"), [(1, "1"), ("yes", "'yes'"), (0.0, "0.0")])
def test_a_truth_value_is_no_number_and_no_word(tiny_raw: Raw, given_value: Any, said: str) -> None:
    tiny_raw["threat_models"][0]["disclosure"] = given_value
    with pytest.raises(StudyError, match="disclosure must be true or false"):
        parse(tiny_raw)
    tiny_raw["threat_models"][0].pop("disclosure")
    tiny_raw["attacks"][0]["parameters"] = {"signed": given_value}
    with pytest.raises(StudyError, match=f"'signed' of .* must be true or false, not {said}"):
        parse(tiny_raw)


def test_a_delta_of_one_is_refused(tiny_raw: Raw) -> None:
    tiny_raw["defenses"].append({"name": "dp_sgd", "parameters": {"delta": 1}})
    with pytest.raises(
        StudyError, match="'delta' of dp_sgd must be a number at least 1e-100 and below 1, not 1"
    ):
        parse(tiny_raw)


def test_a_word_that_yaml_takes_for_a_truth_value_gets_a_hint() -> None:
    entry = catalogue.entries("attacks")["gradinversion"]
    with pytest.raises(
        StudyError, match="one of off, running, private, not False; write it in quotes"
    ):
        entry.validate({"batch_norm": False}, "here")


@pytest.mark.parametrize("value", ["1e400", "1e-3x", ".5", "0x10", "1_000", "one"])
def test_only_the_exponents_that_yaml_reads_as_text_are_numbers(value: str) -> None:
    with pytest.raises(ValueError, match="must be a number"):
        fitted(value, float, written=True)
    assert fitted("1E-3", float, written=True) == 0.001
    with pytest.raises(ValueError, match="must be a number"):
        fitted("1e-3", float)


def test_fields_that_belong_together(tiny_raw: Raw) -> None:
    shadow = catalogue.entries("defenses")["shadow"]
    with pytest.raises(
        StudyError, match=r"'weight_low' of shadow must be at most weight_high \(0\.5\), not 0\.6"
    ):
        shadow.validate({"weight_low": 0.6}, "here")
    tiny_raw["models"] = [{"name": "vit_small", "parameters": {"width": 10}}]
    with pytest.raises(
        StudyError, match=r"'width' of vit_small must be a multiple of heads \(3\), not 10"
    ):
        parse(tiny_raw)

    @dataclasses.dataclass(frozen=True)
    class Pair(Checked):
        low: Annotated[float, AtMost("high")] = 0.0
        wide: Annotated[int, MultipleOf("step")] = 4
        high: float = 1.0
        step: int = 2

    Pair(low=1.0, wide=6)
    with pytest.raises(ValueError, match="low must be at most high"):
        Pair(low=2.0)
    with pytest.raises(ValueError, match="wide must be a multiple of step"):
        Pair(wide=5)


def test_values_stay_as_they_were_given() -> None:
    entry = catalogue.entries("defenses")["gaussian"]
    assert entry.validate({"sigma": 1}, "here") == {"sigma": 1.0}
    assert isinstance(entry.validate({"sigma": 1}, "here")["sigma"], float)
    assert fitted(None, Count | None) is None
    assert fitted([1, 2], tuple[Count, ...]) == (1, 2)


def test_a_field_may_hold_what_a_study_file_cannot() -> None:
    array = np.zeros(2)
    assert fitted(array, Any) is array
    assert fitted(array, np.ndarray) is array
    assert fitted([1], list[int]) == [1]
    with pytest.raises(ValueError, match="must be a ndarray, not 3"):
        fitted(3, np.ndarray)


@given(st.floats(0, 1) | st.integers(0, 1))
def test_every_share_is_taken(value: float) -> None:
    assert fitted(value, Share) == value
    assert (value in Range(0, 1, open_high=True)) == (value < 1)
    assert (value in get_args(Probability)[1]) == (1e-100 <= value < 1)


def test_the_schema_tells_editors_both_ends() -> None:
    from gradsiege.study.schema import schema

    size = schema()["$defs"]["Dataset"]["properties"]["size"]
    assert (size["minimum"], size["maximum"]) == (16, 512)
    decay = schema()["$defs"]["Federation"]["properties"]["decay"]
    assert (decay["exclusiveMinimum"], decay["maximum"]) == (0, 1)


def test_the_list_prints_every_range(verb: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert verb("list", "defenses") == 0
    printed = capsys.readouterr().out
    assert "    sigma: 0.01  (a number from 0 to 1,000,000)\n" in printed
    assert "    delta: 1e-05  (a number at least 1e-100 and below 1)\n" in printed


def test_the_command_leaves_with_three(
    verb: Any, tmp_path: Any, tiny_raw: Raw, capsys: Any
) -> None:
    tiny_raw["federation"]["clients"] = 0
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(tiny_raw))
    assert verb("plan", "--study", tmp_path / "x.yaml", "--root", tmp_path) == 3
    said = capsys.readouterr().err
    assert "federation.clients must be a whole number from 1 to 1,000,000,000, not 0" in said
    with pytest.raises(StudyError):
        load(tmp_path / "x.yaml")
