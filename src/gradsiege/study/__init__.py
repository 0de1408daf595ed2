"""The study file: what a person writes by hand, validated so that a typo is an error that names the key.

`sections` says what may stand in it, `document` is the whole, `expansion` writes out sweeps and ids, `checks` fills in
defaults and refuses contradictions, `reading` makes a study of a file.
"""

from gradsiege.study.document import Study
from gradsiege.study.reading import load, parse
from gradsiege.study.sections import (
    FIXED,
    PROTOCOLS,
    ROLES,
    STAGES,
    Attack,
    Dataset,
    Defense,
    Federation,
    Identifier,
    Model,
    Prior,
    Protocol,
    Section,
    Threat,
)

__all__ = [
    "FIXED",
    "PROTOCOLS",
    "ROLES",
    "STAGES",
    "Attack",
    "Dataset",
    "Defense",
    "Federation",
    "Identifier",
    "Model",
    "Prior",
    "Protocol",
    "Section",
    "Study",
    "Threat",
    "load",
    "parse",
]
