"""Reading YAML strictly: duplicate keys, and numbers that YAML 1.1 reads as other ones, are refused.

Anchors and aliases stand for what they name. A mapping may be merged with ``<<``: its own keys win over merged ones, but two merged
mappings that share a key are refused, since one of them would win silently.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

# Digits of a number; Python itself refuses some thousands.
LONGEST = 100
MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses ambiguous input."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[int] = set()

    def flatten_mapping(self, node: MappingNode) -> None:
        """Refuse a key that stands twice, in the mapping or in two that are merged into it; then merge.

        A mapping that is named again has been merged already, and may then hold a key twice.
        """
        if id(node) not in self._checked:
            self._checked.add(id(node))
            self._refuse_twice([key for key, _ in node.value])
            for key, value in node.value:
                if key.tag == MERGE and isinstance(value, SequenceNode):
                    mappings = [
                        mapping for mapping in value.value if isinstance(mapping, MappingNode)
                    ]
                    written = [
                        {self._plain(key): key for key, _ in mapping.value} for mapping in mappings
                    ]
                    self._refuse_twice([key for keys in written for key in keys.values()])
        super().flatten_mapping(node)

    def _plain(self, key: Node) -> Hashable:
        """Return a key as Python has it; one that no mapping can have stands for itself, to be refused later."""
        value = "<<" if key.tag == MERGE else self.construct_object(key, deep=True)
        return value if isinstance(value, Hashable) else key

    def _refuse_twice(self, keys: list[Node]) -> None:
        first: dict[Hashable, Node] = {}
        for key in keys:
            value = self._plain(key)
            if value in first:
                before, now = first[value].start_mark.line + 1, key.start_mark.line + 1
                lines = f"line {now}" if before == now else f"lines {before} and {now}"
                raise ConstructorError(
                    None, None, f"the key {value!r} is given twice, in {lines}; leave one out"
                )
            first[value] = key

    def construct_scalar(self, node: ScalarNode | MappingNode) -> Any:
        r"""Refuse half a surrogate pair, such as "\ud800", which no file could hold."""
        text = super().construct_scalar(node)
        if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
            line = node.start_mark.line + 1
            raise ConstructorError(None, None, f"line {line}: {text!r} is not valid text")
        return text

    def construct_yaml_int(self, node: ScalarNode) -> int:
        """Refuse 010, which YAML 1.1 takes for 8, 1:30, which it takes for 90, and more digits than Python reads."""
        text = str(self.construct_scalar(node))
        digits = text.lstrip("+-")
        if ":" in text or (digits.startswith("0") and digits.isdecimal() and len(digits) > 1):
            line = node.start_mark.line + 1
            raise ConstructorError(
                None, None, f"line {line}: {text} is not a decimal number; write it without 0 or :"
            )
        if len(digits) > LONGEST:
            raise ConstructorError(
                None,
                None,
                f"line {node.start_mark.line + 1}: a number of {len(digits)} digits; write a shorter one",
            )
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def read_text(text: str) -> Any:
    r"""Return the plain data of a text in YAML.

    Raises:
        yaml.YAMLError: the text is not YAML, or a key is given twice.

    >>> read_text("a: 1\na: 2")
    Traceback (most recent call last):
    yaml.constructor.ConstructorError: the key 'a' is given twice, in lines 1 and 2; leave one out
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (ValueError, RecursionError, OverflowError) as error:
        # A date that does not exist, an integer of thousands of digits, a thousand brackets.
        raise yaml.YAMLError(str(error)) from error
