"""The schema of the ledger of published claims, `config/claims.yaml`.

A claim says what a paper states and where, and by which rule and tolerance a study decides it. Both were chosen
before any result was seen; a change is dated and gives its reason. Rules: `value_within` (a mean, or with `against` a paired difference, equals the published value up
to the tolerance, by two one-sided tests), `difference_sign` (the whole interval of the paired difference goes the claimed way and
reaches the claimed size less the tolerance), `at_most` and `at_least` (a bar), `equivalent` (no paired difference beyond
the tolerance), `ordering` (several arms, from the highest to the lowest). `analysis.claims.verdicts` carries them out.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from gradsiege.documents import Identifier, Section
from gradsiege.ranges import AnyNumber, CountOrZero

# The columns that identify a cell in each table; a cell contains all seeds and victims.
KEYS: dict[str, tuple[str, ...]] = {
    "scores": (
        "dataset", "model", "defense", "training_stage", "protocol", "threat_model", "attack",
    ),
    "utility": ("dataset", "model", "defense"),
    "explained": ("dataset", "model", "defense", "training_stage", "protocol"),
}  # fmt: skip

Rule = Literal["value_within", "difference_sign", "at_most", "at_least", "equivalent", "ordering"]
Utility = Literal["accuracy", "macro_f1"]
Explained = Literal["deletion_area", "insertion_area"]
# Those of the last two lines are published, or follow from published constants, and no stage measures them yet.
Scored = Literal[
    "psnr", "ssim", "ms_ssim", "haarpsi", "lpips", "lpips_vgg", "mse", "identified", "label_accuracy",
    "ssim_on_normalised", "lpips_on_normalised", "psnr_sensitive_area",
    "protected_psnr", "protected_rms", "protected_peak",
]  # fmt: skip
Metric = Scored | Utility | Explained
Values = dict[Metric, AnyNumber]
_NAMES = {"type": "array", "items": {"type": "string"}}


def table_of(metric: str) -> str:
    """Return the table that holds a metric.

    >>> table_of("psnr"), table_of("accuracy"), table_of("insertion_area")
    ('scores', 'utility', 'explained')
    """
    if metric in get_args(Utility):
        return "utility"
    return "explained" if metric in get_args(Explained) else "scores"


def _as_item(given: Any) -> Any:
    return {"name": given} if isinstance(given, str | list) else given


Item = Annotated[
    dict[str, Any],
    BeforeValidator(_as_item),
    WithJsonSchema({"anyOf": [{"type": "string"}, _NAMES, {"type": "object"}]}),
]


class Selector(Section):
    """A selection of cells of a study: every given key must agree with the study file.

    A field is a name, a list of accepted names, or a mapping of keys of the study's item
    (`{name: tip, parameters: {ratio: 0.1}}`). `prior` is a prior that the attack uses; `federation` is
    the study's; `round` is a round of it (for accuracy; the last one unless given).
    """

    dataset: Item = Field({})
    model: Item = Field({})
    defense: Item = Field({})
    training_stage: Item = Field({})
    protocol: Item = Field({})
    threat_model: Item = Field({})
    attack: Item = Field({})
    prior: Item = Field({})
    federation: dict[str, Any] = Field({})
    round: CountOrZero | None = Field(None)

    def given(self) -> dict[str, dict[str, Any]]:
        """The fields that select something, without `round`."""
        return {name: value for name, value in self if name != "round" and value}

    def changed(self, other: Selector) -> Selector:
        """This selector with the fields of another: a named item replaces, other keys are added.

        >>> base = Selector(attack={"name": "gifd", "arm": "faithful"})
        >>> base.changed(Selector(attack={"parameters": {"stages": 0}})).attack
        {'name': 'gifd', 'arm': 'faithful', 'parameters': {'stages': 0}}
        """
        fields = {
            name: item if "name" in item else {**getattr(self, name), **item}
            for name, item in other.given().items()
        }
        turn = self.round if other.round is None else other.round
        return self.model_copy(update={**fields, "round": turn})


class Point(Section):
    """One of several published values, by metric, and the cells that it belongs to."""

    at: Selector
    value: Annotated[Values, Field(min_length=1)]


class Change(Section):
    """A change of a claim's rule after it was first written: when, and why."""

    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    reason: Annotated[str, Field(min_length=1)]


class Claim(Section):
    """One published statement and how a study decides it."""

    id: Identifier
    paper: str
    source: str = Field(description="arXiv number or venue")
    place: str = Field(description="where in the source: abstract, figure, table")
    origin: Literal["published", "digitised", "third_party", "derived"] = "published"
    statement: str
    reading: str = Field("", description="how the rule tests the statement, and where that differs")
    rule: Rule
    value: Values = Field({}, description="the published value by metric")
    tolerance: Annotated[Values, Field(min_length=1)] = Field(
        description="by metric; where no value is published, the smallest difference that counts"
    )
    error: Values = Field(
        {}, description="standard error of the published value by metric, where it is known"
    )
    least_units: CountOrZero = Field(
        0,
        description="fewest independent victims (scenes) with which the rule can come out as reproduced",
    )
    changed: list[Change] = Field([], description="changes of the rule, with date and reason")
    direction: Literal["higher", "lower"] | None = Field(
        None, description="which way the difference to `against` goes (difference_sign)"
    )
    cells: Selector
    against: list[Selector] = Field([], description="references: the fields that differ in `cells`")
    points: list[Point] = Field([], description="several published values instead of one")
    arms: list[Selector] = Field([], description="from the highest to the lowest (ordering)")
    needs: Selector = Field(Selector(), description="the setting of the source")
    transfers: bool = Field(
        False,
        strict=True,
        description="meant to hold elsewhere too, and so tested outside `needs` as well",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Claim:
        for message, wrong in _contradictions(self).items():
            if wrong:
                raise ValueError(message)
        return self

    def tolerance_of(self, metric: str) -> float:
        """The tolerance of one metric."""
        return {str(name): value for name, value in self.tolerance.items()}[metric]

    def error_of(self, metric: str) -> float:
        """The standard error of the published value, 0 where none is known."""
        return {str(name): value for name, value in self.error.items()}.get(metric, 0.0)

    def published(self) -> list[tuple[Selector, str, float | None]]:
        """Return the comparisons as (cells, metric, published value or None)."""
        if not self.points and not self.value:
            return [(self.cells, metric, None) for metric in self.tolerance]
        points = self.points or [Point(at=Selector(), value=self.value)]
        return [
            (self.cells.changed(point.at), metric, value)
            for point in points
            for metric, value in point.value.items()
        ]


def _contradictions(claim: Claim) -> dict[str, bool]:
    """Return the conditions that a claim's rule puts on its other keys: message, and whether the claim violates it."""
    rule, values = claim.rule, [point.value for point in claim.points] or [claim.value]
    valued = {metric for value in values for metric in value}
    bar = rule in ("at_most", "at_least")
    compared = rule in ("equivalent", "difference_sign")
    small = any(v <= claim.tolerance.get(m, 0.0) for value in values for m, v in value.items())
    fields = [{*arm.given()} for arm in claim.arms]
    varied = [*claim.against, *claim.arms]
    moved = varied + [point.at for point in claim.points]
    return {
        "give `value` or `points`, not both": bool(claim.points) and bool(claim.value),
        "`tolerance` needs the metrics of the values": bool(valued)
        and valued != {*claim.tolerance},
        f"{rule} takes no value": rule in ("equivalent", "ordering") and bool(valued),
        f"{rule} needs a `value` or `points`": (bar or rule == "value_within") and not valued,
        "`tolerance` must be positive (a bar may have none)": not all(
            tolerance > 0 or (bar and tolerance == 0) for tolerance in claim.tolerance.values()
        ),
        "`error` needs a metric of the value, and the rule value_within": bool(claim.error)
        and not (rule == "value_within" and {*claim.error} <= valued),
        "`error` must be positive": not all(error > 0 for error in claim.error.values()),
        f"{rule} needs `against`": compared and not claim.against,
        "ordering, and it alone, has several `arms`": (rule == "ordering") != (len(claim.arms) > 1),
        "ordering compares its `arms`, not `against`": rule == "ordering" and bool(claim.against),
        "`arms` must name the same fields": any(names != fields[0] for names in fields),
        "difference_sign, and it alone, has a `direction`": (rule == "difference_sign")
        != (claim.direction is not None),
        "the size of a difference must exceed its tolerance": rule == "difference_sign" and small,
        "`dataset` and `model` stand in `cells` or `needs`: each has its own verdict": any(
            selector.dataset or selector.model for selector in moved
        ),
        "another protocol has other victims: nothing can be paired over protocols": any(
            selector.protocol for selector in varied
        ),
        "`needs` must name the data of the source: others are marked as stand-ins": not (
            claim.needs.dataset or claim.cells.dataset
        ),
    }


class Ledger(Section):
    """The file: one list."""

    claims: list[Claim]
