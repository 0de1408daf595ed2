"""Ranges of parameters, declared beside the fields and checked in study files and in Python by the same code.

A number of a method or of a section of the study file is annotated with an alias of this module, such as ``sigma: Spread = 0.01``, or
with a range of its own, ``Annotated[int, Range(1, 512)]``. A dataclass of parameters inherits `Checked`, which refuses other values when
it is built; `gradsiege.catalogue` reads the same annotations from the sources.
"""

from __future__ import annotations

import math
import re
from dataclasses import Field, dataclass, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

# YAML 1.1 reads a number without a point, such as 1e-3, as text.
EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`; an open end does not belong to them.

    >>> print(Range(0, 1), Range(0, 1, open_low=True), Range(0), Range(), sep="; ")
    from 0 to 1; above 0 and at most 1; at least 0; of any finite size
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, number: float) -> bool:
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high else number <= self.high
        return above and below and -math.inf < number < math.inf

    def __str__(self) -> str:
        low = f"{'above' if self.open_low else 'at least'} {_number(self.low)}"
        high = f"{'below' if self.open_high else 'at most'} {_number(self.high)}"
        if self.low == -math.inf:
            return "of any finite size" if self.high == math.inf else high
        if self.high == math.inf:
            return low
        if self.open_low or self.open_high:
            return f"{low} and {high}"
        return f"from {_number(self.low)} to {_number(self.high)}"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Let a section of the study file refuse with the sentence of `fitted`."""
        from pydantic_core import core_schema

        kind = Annotated[source, self]
        check = lambda value: fitted(value, kind, written=True)  # noqa: E731
        return core_schema.no_info_before_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Tell editors the two ends."""
        found: dict[str, Any] = handler(schema)
        if self.low > -math.inf:
            found["exclusiveMinimum" if self.open_low else "minimum"] = self.low
        if self.high < math.inf:
            found["exclusiveMaximum" if self.open_high else "maximum"] = self.high
        return found


@dataclass(frozen=True)
class AtMost:
    """A value must not exceed that of another field."""

    field: str

    def refusal(self, value: Any, others: dict[str, Any]) -> str:
        """Return what is wrong, or an empty string.

        >>> AtMost("b").refusal(2, {"b": 1})
        'must be at most b (1), not 2'
        """
        other = others[self.field]
        return "" if value <= other else f"must be at most {self.field} ({other}), not {value}"


@dataclass(frozen=True)
class MultipleOf:
    """A value must be a multiple of that of another field."""

    field: str

    def refusal(self, value: Any, others: dict[str, Any]) -> str:
        """Return what is wrong, or an empty string.

        >>> MultipleOf("heads").refusal(8, {"heads": 3})
        'must be a multiple of heads (3), not 8'
        """
        other = others[self.field]
        if value % other == 0:
            return ""
        return f"must be a multiple of {self.field} ({other}), not {value}"


@dataclass(frozen=True)
class Tuned:
    """A positive number that an attacker may choose between two ends, on a logarithmic scale (`gradsiege.tuning`)."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """Return the number that lies a share of the way from `low` to `high`, to three digits.

        >>> Tuned(0.01, 1).at(0.5), Tuned(0.05, 0.5).at(0.0), Tuned(0.05, 0.5).at(1 / 3)
        (0.1, 0.05, 0.108)
        """
        return float(f"{self.low * (self.high / self.low) ** share:.3g}")


AnyNumber = Annotated[float, Range()]
Share = Annotated[float, Range(0, 1)]
PositiveShare = Annotated[float, Range(0, 1, open_low=True)]
PartialShare = Annotated[float, Range(0, 1, open_high=True)]
Probability = Annotated[float, Range(1e-100, 1, open_high=True)]
Percent = Annotated[float, Range(0, 100)]
# Below, float32 no longer tells a step, a bound or a temperature from nothing.
Rate = Annotated[float, Range(1e-12, 1e6)]
RateOrZero = Annotated[float, Range(0, 1e6)]
Epsilon = Annotated[float, Range(1e-12, 1e30)]
Spread = Annotated[float, Range(0, 1e6)]
Weight = Annotated[float, Range(0, 1e6)]
PositiveSize = Annotated[float, Range(1e-12, 1e9)]
Count = Annotated[int, Range(1, 10**9)]
CountOrZero = Annotated[int, Range(0, 10**9)]
# A layer of 4096 by 4096 weights takes 64 MiB, a 3 by 3 convolution nine times as much.
Width = Annotated[int, Range(1, 4096)]
Seed = Annotated[int, Range(0, 2**63 - 1)]

ALIASES: dict[str, Any] = {
    name: found for name, found in list(globals().items()) if get_origin(found) is Annotated
}
RULES = {"Range": Range, "AtMost": AtMost, "MultipleOf": MultipleOf, "Tuned": Tuned}


def given() -> Any:
    """Return the default of a field that is an input of a method and not a parameter, such as the weights of a network."""
    return field(default=None, repr=False, compare=False, metadata={"given": True})


def is_given(one: Field[Any]) -> bool:
    """Whether a field was declared by `given`."""
    return "given" in one.metadata


class Checked:
    """Base of a dataclass of parameters: what its annotations do not allow is refused when it is built.

    >>> @dataclass(frozen=True)
    ... class Parameters(Checked):
    ...     sigma: Annotated[float, Range(0)] = 0.01
    >>> Parameters(sigma=-1)
    Traceback (most recent call last):
    ValueError: ranges.Parameters: sigma must be a number at least 0, not -1
    """

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ValueError: a value that is out of range or of another type; it names field, value and range.
        """
        if not is_dataclass(self):
            return
        kinds: dict[str, Any] = _kinds(type(self))
        values = {
            one.name: _plain(getattr(self, one.name)) for one in fields(self) if not is_given(one)
        }
        for name, value in values.items():
            try:
                fitted(value, kinds[name])
            except ValueError as error:
                raise ValueError(f"{_public_name(type(self))}: {name} {error}") from None
            if value is not getattr(self, name):
                object.__setattr__(self, name, value)
        wrong = contradiction(values, {name: kinds[name] for name in values})
        if wrong:
            raise ValueError(f"{_public_name(type(self))}: {wrong[0]} {wrong[1]}")


def _public_name(kind: type) -> str:
    """Return the name by which users of Python write a class.

    >>> from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
    >>> from gradsiege.protocol.threat_model import ThreatModel
    >>> _public_name(InvertingGradients), _public_name(ThreatModel), _public_name(Range)
    ('gradsiege.attacks.InvertingGradients', 'gradsiege.ThreatModel', 'ranges.Range')
    """
    import gradsiege

    place = f"{kind.__module__}.{kind.__qualname__}"
    name, package = kind.__qualname__, place.removeprefix("gradsiege.").partition(".")[0]
    if name in gradsiege.__all__ and getattr(gradsiege, name) is kind:
        return f"gradsiege.{name}"
    if place.startswith(f"gradsiege.{package}.") and package in gradsiege.__all__:
        return f"gradsiege.{package}.{name}"
    return place.removeprefix("gradsiege.")


@cache
def _kinds(owner: type) -> dict[str, Any]:
    return get_type_hints(owner, include_extras=True)


def _plain(value: Any) -> Any:
    """Return the number that a NumPy scalar holds, which files and digests can hold; anything else as it is."""
    is_scalar = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return value.item() if is_scalar else value


def contradiction(values: dict[str, Any], kinds: dict[str, Any]) -> tuple[str, str] | None:
    """Return the first field that disagrees with another one, and how, or None.

    >>> contradiction({"a": 3, "b": 2}, {"a": Annotated[int, AtMost("b")], "b": int})
    ('a', 'must be at most b (2), not 3')
    """
    for name, kind in kinds.items():
        for rule in get_args(kind)[1:] if get_origin(kind) is Annotated else ():
            if isinstance(rule, AtMost | MultipleOf) and values[name] is not None:
                found = rule.refusal(values[name], values)
                if found:
                    return name, found
    return None


def fitted(value: Any, kind: Any, *, written: bool = False) -> Any:
    """Return a value as its annotation has it: whole numbers become floats where these are expected, lists become tuples.

    Args:
        value: what was given.
        kind: the annotation: a scalar, a range, a Literal, a tuple, or one of these or None.
        written: the value stands in a file, where 1e-3 may have been read as text.

    Raises:
        ValueError: the value does not fit; the sentence names value and range.

    >>> fitted(1, float), fitted([2], tuple[int, ...]), fitted("1e-3", Share, written=True)
    (1.0, (2,), 0.001)
    >>> fitted(True, Share)
    Traceback (most recent call last):
    ValueError: must be a number from 0 to 1, not True
    """
    try:
        return _convert(value, kind, written)
    except (TypeError, OverflowError):
        hint = "; write it in quotes" if _unquoted(value, kind) else ""
        raise ValueError(f"must be {described(kind)}, not {shown(value)}{hint}") from None


def _convert(value: Any, kind: Any, written: bool) -> Any:
    """Return the value as `kind` has it; anything else is a TypeError or an OverflowError."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        found = _convert(value, arguments[0], written)
        if any(isinstance(rule, Range) and found not in rule for rule in arguments[1:]):
            raise TypeError
        return found
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        (other,) = (one for one in arguments if one is not NoneType)
        return _convert(value, other, written)
    if origin is Literal:
        if not any(value == one and type(value) is type(one) for one in arguments):
            raise TypeError
        return value
    if origin is tuple:
        if not isinstance(value, tuple | list):
            raise TypeError
        return tuple(_convert(one, arguments[0], written) for one in value)
    if kind is float:
        return _as_float(value, written)
    if kind is Any:
        return value
    if not isinstance(value, origin or kind) or (kind is int and isinstance(value, bool)):
        raise TypeError
    return value


def number_of(value: Any) -> Any:
    """Return the number that a text such as 1e-3 stands for; anything else as it is.

    >>> number_of("1e-3"), number_of("3"), number_of(2)
    (0.001, '3', 2)
    """
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def _as_float(value: Any, written: bool) -> float:
    value = number_of(value) if written else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise TypeError
    return number


def _unquoted(value: Any, kind: Any) -> bool:
    """Whether a word such as off was read as a truth value where a word is expected."""
    words = get_args(kind) if get_origin(kind) is Literal else ()
    return isinstance(value, bool) and bool({"on", "off", "yes", "no"} & set(words))


def described(kind: Any) -> str:
    """Return what an annotation allows, in words.

    >>> described(Share), described(Literal["a", "b"]), described(Count | None)
    ('a number from 0 to 1', 'one of a, b', 'a whole number from 1 to 1,000,000,000, or null')
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        ends = [str(rule) for rule in arguments[1:] if isinstance(rule, Range)]
        return " ".join([described(arguments[0]), *ends])
    if origin in (Union, UnionType):
        (other,) = (one for one in arguments if one is not NoneType)
        return f"{described(other)}, or null"
    if origin is Literal:
        return "one of " + ", ".join(str(one) for one in arguments)
    if origin is tuple:
        return f"a list, each {described(arguments[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    names |= {Any: "anything"}
    return names.get(kind) or f"a {getattr(kind, '__name__', kind)}"


def tuned(kind: Any) -> Tuned | None:
    """Return between which ends the value of an annotation may be chosen, or None.

    >>> tuned(Annotated[Weight | None, Tuned(1e-4, 0.1)]), tuned(Weight)
    (Tuned(low=0.0001, high=0.1), None)
    """
    rules = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((rule for rule in rules if isinstance(rule, Tuned)), None)


def unbounded(kind: Any) -> bool:
    """Return whether an annotation allows a number and states no range for it.

    >>> unbounded(float | None), unbounded(tuple[int, ...]), unbounded(Share | None), unbounded(Literal[1, 2])
    (True, True, False, False)
    """
    parts = get_args(kind)
    if get_origin(kind) is Annotated and any(isinstance(rule, Range) for rule in parts):
        return False
    return kind in (int, float) or any(unbounded(part) for part in parts)


def shown(value: Any) -> str:
    """Return a value as a message shows it, cut where it is long.

    >>> shown("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."
    """
    if isinstance(value, int) and abs(value) >= 10**60:
        return f"a whole number of {int(math.log10(abs(value))) + 1} digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:39]}..."


def _number(value: float) -> str:
    """Return a number with its thousands apart; a large float is a power of ten that no digits would make clearer.

    >>> _number(2**53), _number(0.5), _number(1e30)
    ('9,007,199,254,740,992', '0.5', '1e30')
    """
    if isinstance(value, float) and (abs(value) >= 1e15 or not value.is_integer()):
        return f"{value:g}".replace("e+", "e")
    return f"{int(value):,}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "step"), counted(2, "step")
    ('1 step', '2 steps')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
