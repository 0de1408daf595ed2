"""Files that a person writes: models that refuse unknown keys, and reading YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)

from gradsiege import yaml_files
from gradsiege.errors import StudyError

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=80)]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def read_yaml(path: Path, what: str) -> Any:
    """Return the plain data of a file that a person wrote; `what` names its kind if it does not exist."""
    if not path.is_file():
        raise StudyError(f"{what} {path} does not exist")
    try:
        return yaml_files.read_text(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is not valid YAML: {error}") from error
