"""The input of every figure, and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradsiege.analysis.claims.claim import Claim
from gradsiege.analysis.claims.comparisons import Tables
from gradsiege.analysis.claims.evaluation import Outcome, evaluate
from gradsiege.analysis.summary import REQUIRED, summarise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pictures = Mapping[str, NDArray[np.uint8]]
Explanation = Mapping[str, NDArray[np.float32]]

STAGES = ("untrained", "early", "late")
SCORES = [
    *REQUIRED,
    "seed",
    "reason",
    "ssim",
    "haarpsi",
    "label_accuracy",
    "iterations",
    "evaluations",
    "seconds",
]
UTILITY = ["dataset", "model", "defense", "seed", "round", "accuracy", "macro_f1", "micro_f1"]
UTILITY += ["status", "seconds", "peak_memory"]
CURVES = ("deletion", "insertion")
CELL_KEY = ("dataset", "model", "defense", "training_stage", "protocol", "seed")


class LazyPictures(Mapping[str, Pictures]):
    """Pictures by cell key, read on first use.

    keys: e.g. "photos/convnet/none/untrained/fedsgd/seed0". load(key) returns 'truth' and one
    array an attack or control, uint8 [n, channels, height, width] in the order of (victim,
    image). Where one attack ran under several threat models, its key is "threat_model/attack".
    """

    def __init__(self, keys: Iterable[str], load: Callable[[str], Pictures]) -> None:
        """Remember the keys; nothing is read yet."""
        self._keys = tuple(keys)
        self._load = load
        self._held: dict[str, Pictures] = {}

    def __getitem__(self, key: str) -> Pictures:
        """Load one cell, once."""
        if key not in self._keys:
            raise KeyError(key)
        if key not in self._held:
            self._held[key] = self._load(key)
        return self._held[key]

    def __iter__(self) -> Iterator[str]:
        """Yield the keys in the order given."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Count the cells."""
        return len(self._keys)


@dataclass(frozen=True)
class StudyData:
    """All stored results of a finished or unfinished study, ready to draw.

    scores: one row per victim image; utility: one row per round; manifests: one dict per job (stage,
    cell, seconds, device, versions, status, reason); study: the resolved study file as plain
    data; cards: data cards by dataset; not_run: dicts with `what` and `why`; threat_models: the
    study's threat models as plain data (id, labels, protocol, disclosure, auxiliary);
    deviations: dicts with `what` and `why`, where the study departs from the papers;
    explanations: by the key of a cell, what `observe` kept of its first victims' models; claims: the ledger; planned: keys of all attack
    cells of the study file (none: the study file is not known, and every empty field counts as not run).
    """

    scores: pd.DataFrame
    utility: pd.DataFrame
    pictures: Mapping[str, Pictures] = field(default_factory=dict)
    cards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    manifests: Sequence[Mapping[str, Any]] = ()
    study: Mapping[str, Any] = field(default_factory=dict)
    not_run: Sequence[Mapping[str, Any]] = ()
    threat_models: Sequence[Mapping[str, Any]] = ()
    deviations: Sequence[Mapping[str, Any]] = ()
    explanations: Mapping[str, Explanation] = field(default_factory=dict)
    claims: Sequence[Claim] = ()
    planned: frozenset[str] = frozenset()
    _derived: dict[Callable[[StudyData], pd.DataFrame], pd.DataFrame] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        """Add the columns that figures need to the tables of a study without results."""
        for name, columns in (("scores", SCORES), ("utility", UTILITY)):
            table = getattr(self, name)
            if table.empty:
                # The only way to set a field of a frozen dataclass.
                object.__setattr__(self, name, table.reindex(columns=columns))

    @cached_property
    def summary(self) -> pd.DataFrame:
        """`analysis.summary.summarise` of the scores: every figure shares these numbers."""
        return summarise(self.scores)

    def once(self, derive: Callable[[StudyData], pd.DataFrame]) -> pd.DataFrame:
        """Return a function's result for this study, computed on first use."""
        if derive not in self._derived:
            self._derived[derive] = derive(self)
        return self._derived[derive]

    @cached_property
    def explained(self) -> pd.DataFrame:
        """One row per explained victim: deletion and insertion areas of the model that it uploads."""
        rows = []
        for key, arrays in self.explanations.items():
            cell = dict(zip(CELL_KEY, key.split("/"), strict=True))
            ids = {**cell, "seed": int(cell["seed"].removeprefix("seed")), "image": 0}
            areas = zip(*(arrays[f"{curve}_area.after"] for curve in CURVES), strict=True)
            for victim, of_victim in enumerate(areas):
                known = all(map(np.isfinite, of_victim))
                named = {
                    f"{curve}_area": area for curve, area in zip(CURVES, of_victim, strict=True)
                }
                status = "complete" if known else "failed"
                rows.append({**ids, "victim": victim, "status": status, **named})
        return pd.DataFrame(rows)

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """Verdicts on the claims, from the stored tables alone."""
        absent = {
            str(item["what"]).removeprefix("metric "): str(item["why"])
            for item in self.not_run
            if str(item["what"]).startswith("metric ")
        }
        tables = Tables(self.study, self.scores, self.utility, self.explained, absent)
        return evaluate(self.claims, tables)

    @cached_property
    def _planned(self) -> frozenset[tuple[str, ...]]:
        """Planned attacks without their seeds, and the observations that they attack."""
        keys = [key.split("/") for key in self.planned]
        return frozenset((*k[:5], *k[6:]) for k in keys) | {tuple(k[:5]) for k in keys}

    def why_missing(self, place: Sequence[str], threat_model: str = "", attack: str = "") -> str:
        """Return why a result is missing: 'not run', 'cut' (the study file excludes it), or 'not applicable'.

        place: data set, model, defense, training stage, protocol. A counter is not applicable to other defenses
        than its own. A control has neither threat model nor attack.
        """
        if not self.planned or (*place, *filter(None, (threat_model, attack))) in self._planned:
            return "not run"
        items = [item for item in self.study.get("attacks", ()) if item.get("id") == attack]
        counter = str(items[0].get("counter") or "") if items else ""
        answered = self.name_of("defenses", place[2])
        other = counter and counter.partition(".")[0] not in (answered, "generic")
        return "not applicable" if other else "cut"

    def name_of(self, section: str, identifier: str) -> str:
        """Return the method of an id of the study: 'gaussian' for 'gaussian-sigma0.01'."""
        for item in self.study.get(section, ()):
            if item.get("id") == identifier:
                return str(item.get("name", identifier))
        return identifier.partition("-")[0]

    def in_order(self, section: str, identifiers: Iterable[str]) -> list[str]:
        """Return ids in the order of the study file, then unknown ones in order of appearance."""
        listed = [str(item.get("id")) for item in self.study.get(section, ())]
        unique = list(dict.fromkeys(map(str, identifiers)))
        known = [identifier for identifier in listed if identifier in unique]
        return known + [identifier for identifier in unique if identifier not in known]

    def adaptive(self, threat_model: str) -> bool:
        """Return whether attackers of this threat model know the defense and its parameters."""
        return any(
            threat.get("id") == threat_model and bool(threat.get("disclosure"))
            for threat in self.threat_models
        )

    def synthetic(self, dataset: str) -> bool:
        """Return whether the data card calls the data set synthetic."""
        return bool(self.cards.get(dataset, {}).get("synthetic", False))

    def undefended(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of the table whose defense is 'none'."""
        ids = table["defense"].unique()
        bare = [name for name in ids if self.name_of("defenses", str(name)) == "none"]
        return table[table["defense"].isin(bare)]


@dataclass(frozen=True)
class Drawn:
    """A figure or table with the numbers in it.

    figure: None for a table. data: exactly the numbers that are shown, one row per measured object, with the
    columns of `report/columns.py`; `report/tidy.py` turns it into one row per measurement. shown: for a table, the few
    columns of text that a reader sees, by default `data`. quiet: indices of its rows that are there for comparison (controls). alt: description of
    the figure for a screen reader.
    """

    title: str
    caption: str
    data: pd.DataFrame
    figure: Figure | None = None
    shown: pd.DataFrame | None = None
    quiet: tuple[int, ...] = ()
    alt: str = ""


def in_stage_order(stages: Iterable[str]) -> list[str]:
    """Training stages from untrained to late.

    >>> in_stage_order(["late", "untrained", "late"])
    ['untrained', 'late']
    """
    unique = list(dict.fromkeys(map(str, stages)))
    return sorted(unique, key=lambda stage: STAGES.index(stage) if stage in STAGES else len(STAGES))
