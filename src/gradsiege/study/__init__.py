"""The study file, which people write by hand. It is validated, so that a typo is an error that names the key.

`sections` defines its sections, `document` the whole, `expansion` writes out sweeps, counters and ids, `selection`
resolves the names in `only`, `placement` decides which items meet, `checks`, `idle` and `nowhere` fill in defaults and refuse
contradictions, `reading` parses a file into a study.
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
