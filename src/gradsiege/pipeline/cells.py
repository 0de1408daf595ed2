"""The cells of a study: the ids of each, the folder of its files, and its dependencies.

A cell is a stage and a few ids. Its folder is named after them. Its digest is a hash of everything that
decides its content: the resolved settings, the versions of the methods, and the digests of the cells that it
reads. Two cells with the same digest have the same content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gradsiege import catalogue
from gradsiege.artifacts import MANIFEST
from gradsiege.catalogue import SECTIONS
from gradsiege.errors import StudyError, nearest
from gradsiege.pipeline import added_later, label_inference
from gradsiege.pipeline.stage import STAGES
from gradsiege.protocol.gallery import DISTRACTORS
from gradsiege.study import PLACES, Study, combinations
from gradsiege.study.tuning import images_set_aside, is_tuned, settings_of


@dataclass(frozen=True, order=True)
class Cell:
    """One unit of work: a stage and the ids that it runs on (unused ones stay empty)."""

    stage: str
    dataset: str = ""
    model: str = ""
    defense: str = ""
    training_stage: str = ""
    protocol: str = ""
    seed: int = 0
    threat_model: str = ""
    attack: str = ""
    prior: str = ""

    @property
    def key(self) -> str:
        """The ids joined by slashes.

        >>> Cell("federate", dataset="photos", model="lenet", defense="none", seed=1).key
        'photos/lenet/none/seed1'
        """
        parts = [(name, getattr(self, name)) for name in STAGES[self.stage].fields]
        return "/".join(f"seed{value}" if name == "seed" else value for name, value in parts)

    def folder(self, study: Study, root: Path = Path()) -> Path:
        """Folder of the cell's files, relative to the root of the repository."""
        return root / "results" / study.study / self.stage / self.key

    def files(self, study: Study, root: Path = Path()) -> list[Path]:
        """Return all files of the finished cell, its manifest last."""
        return [self.folder(study, root) / name for name in (*STAGES[self.stage].outputs, MANIFEST)]

    def at(self, stage: str, **changes: Any) -> Cell:
        """Return the cell of another stage with the same ids."""
        ids = {name: getattr(self, name) for name in STAGES[stage].fields}
        return Cell(stage, **{**ids, **changes})


def parse_key(stage: str, key: str, study: Study) -> Cell:
    """Return the cell of a key, refusing ids that the study does not have."""
    if stage not in STAGES:
        raise StudyError(f"unknown stage {stage!r}; {nearest(stage, list(STAGES))}")
    parts, names = key.strip("/").split("/"), STAGES[stage].fields
    if len(parts) != len(names):
        raise StudyError(f"{stage} cells look like {'/'.join(names)}, not {key!r}")
    values: dict[str, Any] = {}
    for name, part in zip(names, parts, strict=True):
        if name == "seed":
            known = {f"seed{seed}": seed for seed in study.seeds}
            if part not in known:
                raise StudyError(
                    f"{key}: {part!r} is not a seed of the study; {nearest(part, [*known])}"
                )
            values[name] = known[part]
            continue
        if name == "training_stage":
            if part not in study.training_stages:
                hint = nearest(part, list(study.training_stages))
                raise StudyError(f"{key}: {part!r} is not a training stage of the study; {hint}")
        else:
            study.one(SECTIONS[name], part)
        values[name] = part
    return Cell(stage, **values)


def attack_cells(study: Study) -> Iterator[Cell]:
    """Every attack cell of the study, in the order of its lists."""
    return (Cell(**ids) for ids in combinations(study, "attack"))


def needs_shadow(defense: str, study: Study) -> bool:
    """Whether a defense of the study uses the shadow generator (``REQUIRES = ("shadow",)``)."""
    name = study.one("defenses", defense).name
    return "shadow" in catalogue.entries("defenses")[name].requires


def shadow_of(cell: Cell, study: Study) -> Cell | None:
    """The pretrained shadow generator that the defense of a cell needs, or None."""
    return cell.at("shadow") if needs_shadow(cell.defense, study) else None


def grants_candidates(study: Study) -> bool:
    """Whether a threat model of the study grants a gallery, which observations then hold."""
    return any(threat.candidates for threat in study.threat_models)


def priors_of(cell: Cell, study: Study) -> list[Cell]:
    """The priors that the attack of a cell reads, in the order of the study file."""
    priors = [study.one("priors", prior) for prior in study.one("attacks", cell.attack).priors]
    return [
        cell.at("prior", prior=prior.id, dataset=prior.dataset or cell.dataset) for prior in priors
    ]


def datasets_of(cell: Cell, study: Study) -> list[str]:
    """Return the data sets that a cell needs: its own, and those that its attack's priors are trained on."""
    priors = priors_of(cell, study) if cell.stage == "attack" else []
    return list(dict.fromkeys([cell.dataset, *(prior.dataset for prior in priors)]))


def cells(study: Study) -> dict[str, list[Cell]]:
    """Return every cell of the study once, by stage; priors and shadow generators only if another cell reads them."""
    by_stage: dict[str, dict[Cell, None]] = {stage: {} for stage in STAGES}
    by_stage["fetch"] = {Cell("fetch", dataset=dataset.id): None for dataset in study.datasets}
    for ids in combinations(study, "federate"):
        cell = Cell(**ids)
        by_stage["federate"][cell] = None
        shadow = shadow_of(cell, study)
        if shadow:
            by_stage["shadow"][shadow] = None
    for cell in attack_cells(study):
        by_stage["attack"][cell] = None
        by_stage["prior"] |= dict.fromkeys(priors_of(cell, study))
        by_stage["observe"][cell.at("observe")] = None
        by_stage["score"][cell.at("score")] = None
    return {stage: list(of_stage) for stage, of_stage in by_stage.items()}


@lru_cache(maxsize=8)
def _attacks_by_observation(study_text: str) -> dict[Cell, list[Cell]]:
    study = Study.model_validate_json(study_text)
    grouped: dict[Cell, list[Cell]] = {}
    for cell in attack_cells(study):
        grouped.setdefault(cell.at("score"), []).append(cell)
    return grouped


def attacks_on(cell: Cell, study: Study) -> list[Cell]:
    """Return the attack cells of one observation."""
    return _attacks_by_observation(_text(study)).get(cell.at("score"), [])


def upstream(cell: Cell, study: Study) -> list[Cell]:
    """The cells whose files this one reads."""
    fetch = Cell("fetch", dataset=cell.dataset)
    if cell.stage == "fetch":
        return []
    if cell.stage in ("prior", "shadow"):
        return [fetch]
    if cell.stage in ("federate", "observe"):
        shadow = shadow_of(cell, study)
        trained = [cell.at("federate")] if cell.stage == "observe" else []
        return [fetch, *trained, *([shadow] if shadow else [])]
    if cell.stage == "attack":
        own = [fetch] if is_tuned(study, cell.attack, cell.threat_model) else []
        return [*own, cell.at("observe"), *priors_of(cell, study)]
    return [fetch, cell.at("observe"), *attacks_on(cell, study)]


def settings(cell: Cell, study: Study) -> dict[str, Any]:
    """The resolved settings that decide the cell's own work, with the versions of its methods."""
    chosen: dict[str, Any] = {"stage_version": STAGES[cell.stage].version, "study_seed": study.seed}
    for name in STAGES[cell.stage].fields:
        if name in SECTIONS:
            item = study.one(SECTIONS[name], getattr(cell, name))
            later = added_later.KEYS.get(name, {})
            chosen[name] = {
                key: value
                for key, value in item.model_dump(mode="json", exclude=set(PLACES)).items()
                if key not in later or value != later[key]
            }
            if SECTIONS[name] in catalogue.KINDS:
                entry = catalogue.entries(SECTIONS[name])[item.name]
                chosen[name]["parameters"] = added_later.left_out(
                    SECTIONS[name], item.name, chosen[name]["parameters"]
                )
                chosen[name]["version"] = entry.version
                if entry.distribution:
                    chosen[name]["distribution"] = entry.distribution
    if cell.stage == "attack" and chosen["attack"]["counter"]:
        counter = catalogue.entries("counters")[chosen["attack"]["counter"]]
        chosen["attack"]["counter_version"] = counter.version
        if counter.distribution:
            chosen["attack"]["counter_distribution"] = counter.distribution
    if cell.stage == "attack" and is_tuned(study, cell.attack, cell.threat_model):
        chosen["tuning"] = settings_of(study, cell.attack)
    if cell.stage == "prior" and study.tuning:
        chosen["set_aside"] = images_set_aside(study)
    if cell.stage == "attack":
        inference = label_inference.version_of(study, vars(cell))
        chosen |= {"label_inference": inference} if inference > 1 else {}
    if cell.stage == "shadow":
        generator = catalogue.entries("priors")["shadow_generator"]
        defaults = {name: default for name, (_, default) in generator.parameters.items()}
        chosen["generator"] = {"version": generator.version, "parameters": defaults}
    if cell.stage == "federate":
        chosen["federation"] = study.federation.model_dump(mode="json")
    if cell.stage == "observe":
        chosen["victims"] = study.victims
        chosen["explained"] = study.explained
        if grants_candidates(study):
            chosen["distractors"] = DISTRACTORS
    return chosen


def distributions(cell: Cell, study: Study) -> dict[str, str]:
    """Return the other distributions whose methods a cell runs, and their versions; its digest holds their names alone."""
    chosen = [
        (SECTIONS[name], study.one(SECTIONS[name], getattr(cell, name)).name)
        for name in STAGES[cell.stage].fields
        if SECTIONS.get(name) in catalogue.KINDS
    ]
    if cell.stage == "attack":
        attack = study.one("attacks", cell.attack)
        chosen += [("priors", study.one("priors", prior).name) for prior in attack.priors]
        chosen += [("counters", attack.counter)] if attack.counter else []
    entries = [catalogue.entries(kind)[name] for kind, name in chosen]
    return {entry.distribution: entry.release for entry in entries if entry.distribution}


def resolved(cell: Cell, study: Study) -> dict[str, Any]:
    """Ids, settings and digest of a cell: what its manifest records."""
    return {
        "study": study.study,
        "stage": cell.stage,
        "key": cell.key,
        "ids": {name: getattr(cell, name) for name in STAGES[cell.stage].fields},
        "settings": settings(cell, study),
        "digest": digest(cell, study),
    }


def digest(cell: Cell, study: Study) -> str:
    """Hash of everything that decides the cell's content, upstream cells included."""
    return _digest(cell, _text(study))


_remembered: tuple[Study, str] | None = None


def remember(study: Study) -> Study:
    """Serialise a study once for all following digests, and return it; the caller must not change it afterwards.

    With ten thousand cells, serialising it for each would take most of the time.
    """
    global _remembered
    _remembered = (study, study.model_dump_json())
    return study


def _text(study: Study) -> str:
    if _remembered is not None and _remembered[0] is study:
        return _remembered[1]
    return study.model_dump_json()


@lru_cache(maxsize=200_000)
def _digest(cell: Cell, study_text: str) -> str:
    study = _study(study_text)
    body = {
        "cell": vars(cell),
        "settings": settings(cell, study),
        "upstream": [_digest(other, study_text) for other in upstream(cell, study)],
    }
    text = json.dumps(body, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=8)
def _study(study_text: str) -> Study:
    return Study.model_validate_json(study_text)
