"""Files that a person writes: models that refuse unknown keys, and reading YAML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)
from pydantic_core import ErrorDetails

from gradsiege import yaml_files
from gradsiege.errors import StudyError
from gradsiege.ranges import shown

LONGEST = 80
# Kinds of problems whose words are not pydantic's.
WORDS = {
    "string_pattern_mismatch": "must be made of the letters a to z, digits, and _ . + -, and begin with a letter or a digit",
    "string_too_long": f"must have at most {LONGEST} characters",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "too_short": "must have at least one item",
}
SHOULD = re.compile("^(Input|String|List|Dictionary) should")
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=LONGEST)]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def shown(self, key: str) -> str:
        """Return the value of a key for a message, which says so where the file left it to its default."""
        default = "" if key in self.model_fields_set else " (the default)"
        return f"{getattr(self, key)}{default}"


def refusal(problem: ErrorDetails) -> str:
    """Return what follows the place of a problem: what must stand there, and what does."""
    said, given = problem["msg"].removeprefix("Value error, "), problem["input"]
    if problem["type"] == "missing":
        return " is missing; write it"
    if problem["type"] == "value_error":
        return f" {said}" if said.startswith("must be ") else f": {said}"
    said = WORDS.get(problem["type"], SHOULD.sub("must", said))
    if not said.startswith("must"):
        return f": {said}"
    quotes = (
        "; YAML takes on, off, yes, no, true and false for truth values, so put the word in quotes"
        if isinstance(given, bool)
        else "; put it in quotes"
        if problem["type"] == "string_type" and not isinstance(given, list | dict)
        else ""
    )
    return f" {said}, not {shown(given)}{quotes}"


def read_yaml(path: Path, what: str) -> Any:
    """Return the plain data of a file that a person wrote; `what` names its kind if it does not exist."""
    if path.exists() and not path.is_file():
        raise StudyError(
            f"{what} {path} is {'a folder' if path.is_dir() else 'not a file'}; name a file"
        )
    if not path.is_file():
        raise StudyError(f"{what} {path} does not exist")
    try:
        return yaml_files.read_text(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is not valid YAML: {error}") from error
