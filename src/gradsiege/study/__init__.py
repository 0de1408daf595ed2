"""The study file: what a person writes by hand, validated so that a typo is an error that names the key.

`sections` says what may stand in it, `document` is the whole, `expansion` writes out sweeps, counters and ids, `selection`
finds what an `only` names, `placement` says which items meet, `checks`, `idle` and `nowhere` fill in defaults and refuse
contradictions, `reading` makes a study of a file.
"""

from gradsiege.documents import Identifier, Section
from gradsiege.study.document import Study
from gradsiege.study.placement import combinations
from gradsiege.study.reading import load, parse
from gradsiege.study.sections import (
    FIXED,
    PLACES,
    PROTOCOLS,
    ROLES,
    STAGES,
    Attack,
    Dataset,
    Defense,
    Federation,
    Model,
    Prior,
    Protocol,
    Threat,
)

__all__ = [
    "FIXED",
    "PLACES",
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
    "combinations",
    "load",
    "parse",
]
