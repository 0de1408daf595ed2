"""A made-up arena: the cells of a shipped study file with invented scores, accuracies and pictures; no attack or training ran."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradsiege.metrics.picture_names import picture_name
from gradsiege.pipeline.cells import Cell, attack_cells
from gradsiege.report.data import LazyPictures, StudyData
from gradsiege.study import Study, load

ROOT = Path(__file__).parents[2]
SIDE, VICTIMS, GALLERY = 16, 8, 16
UNDEFENDED = 27.0
# PSNR that a blind attack loses, and the share of it that an informed one wins back, by the name of the defense.
EFFECTS = {
    "none": (0.0, 0.0),
    "gaussian": (8.0, 0.3),
    "laplace": (10.0, 0.3),
    "clipping": (0.0, 0.0),
    "sparsification": (4.0, 0.5),
    "top_k": (5.0, 0.6),
    "sign": (14.0, 0.5),
    "quantization": (12.0, 0.4),
    "soteria": (13.0, 0.95),
    "precode": (16.0, 0.6),
    "ats": (11.0, 0.5),
    "censor": (15.0, 0.05),
    "dp_sgd": (14.0, 0.1),
    "agp": (15.0, 0.9),
    "tip": (13.0, 1.0),
    "shadow": (2.0, 0.1),
}
CONTROLS = {"control_random": 8.0, "control_class_mean": 13.0, "control_nearest_aux": 15.5}


def _noise(*words: object) -> float:
    """A number in [-1, 1], the same for the same words on every machine."""
    return zlib.crc32("/".join(map(str, words)).encode()) / 2**31 - 1.0


def _psnr(cell: Cell, study: Study) -> float:
    """The mean PSNR of an invented cell: blind attacks lose what the defense takes, counters win a share back."""
    attack, defense = study.one("attacks", cell.attack), study.one("defenses", cell.defense)
    if attack.name in ("label_lookup", "auxiliary_lookup"):
        return 13.5
    lost, back = EFFECTS[defense.name]
    lost += 3.0 * _noise(cell.defense)
    informed = attack.counter is not None or attack.name == "learned_inversion"
    weaker = {"maximum_a_posteriori": 1.0, "learned_inversion": 6.0, "gi_pip": 2.0, "gifd": 2.5}
    value = UNDEFENDED - lost * (1 - back if informed else 1) - weaker.get(attack.name, 0.0)
    return max(9.0, value + 0.7 * _noise(cell.key))


def _rows(cell: Cell, study: Study) -> list[dict[str, Any]]:
    chosen = study.one("attacks", cell.attack).name == "identification"
    kind, mean = "identification" if chosen else "attack", _psnr(cell, study)
    return _victims(cell, mean, {"threat_model": cell.threat_model, "kind": kind}, cell.attack)


def _victims(cell: Cell, mean: float, ids: dict[str, Any], attack: str) -> list[dict[str, Any]]:
    place = {name: getattr(cell, name) for name in ("dataset", "model", "defense", "protocol")}
    place |= {"training_stage": cell.training_stage, "attack": attack, "study": "arena"}
    rows = []
    for victim in range(VICTIMS):
        psnr = mean + 2.0 * np.sin(victim) + _noise(cell.key, attack, victim)
        hit = _noise("hit", cell.key, attack, victim) < (psnr - 18.0) / 8.0
        rank = 1 if hit else 2 + victim % (GALLERY - 2)
        values = {"psnr": psnr, "ssim": np.clip((psnr - 6) / 26, 0, 1), "mse": 10 ** (-psnr / 10)}
        values |= {"haarpsi": np.clip((psnr - 5) / 30, 0, 1), "matching_loss": 30.0 - psnr}
        values |= {"identified": hit, "rank": rank, "gallery_size": GALLERY, "label_accuracy": 1.0}
        values |= {"iterations": 150, "evaluations": 150, "seconds": 10.0}
        rows.append(
            {**place, **ids, **values, "seed": 0, "victim": victim, "image": 0, "scene": victim}
            | {"label": victim % 4, "status": "complete", "reason": ""}
        )
    return rows


def _controls(cells: list[Cell]) -> list[dict[str, Any]]:
    places = {cell.at("score") for cell in cells}
    return [
        row
        for cell in sorted(places)
        for name, mean in CONTROLS.items()
        for row in _victims(cell, mean, {"threat_model": "", "kind": "control"}, name)
    ]


def _utility(study: Study, cells: list[Cell], seeds: int) -> pd.DataFrame:
    """Accuracies of three rounds: strong settings cost some, two of them too much."""
    rows = []
    for model, defense in sorted({(cell.model, cell.defense) for cell in cells}):
        name = study.one("defenses", defense).name
        cost = 0.4 if name in ("precode", "dp_sgd") else 0.01 + 0.015 * _noise("cost", defense)
        for seed in range(seeds):
            for turn in range(4):
                value = (0.75 - cost) * (1 - 0.4**turn) + 0.1 * 0.4**turn
                value += 0.004 * _noise(model, defense, seed, turn)
                ids = {"study": "arena", "dataset": study.datasets[0].id, "model": model}
                numbers = dict.fromkeys(("accuracy", "macro_f1", "micro_f1"), value)
                rows.append(
                    {**ids, "defense": defense, "seed": seed, "round": turn, **numbers}
                    | {
                        "loss": 2 - value,
                        "status": "complete",
                        "seconds": 2.0,
                        "peak_memory": 700.0,
                    }
                )
    return pd.DataFrame(rows)


def _pictures(scores: pd.DataFrame, channels: int) -> LazyPictures:
    """A smooth colour field per victim; reconstructions are it with noise of their PSNR."""
    fields = ["dataset", "model", "defense", "training_stage", "protocol"]
    by_key = {
        "/".join([*map(str, key), "seed0"]): rows
        for key, rows in scores.groupby(fields, sort=False)
    }

    def load_one(key: str) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        across = np.linspace(0, 3, SIDE)
        phase = np.arange(VICTIMS * channels).reshape(VICTIMS, channels, 1, 1) * 0.7
        truth = 128 + 100 * np.sin(phase + across[:, None] * 1.4 + across[None, :])
        pictures = {"truth": truth}
        for (attack, threat), rows in by_key[key].groupby(["attack", "threat_model"], sort=False):
            level = 255 * np.sqrt(rows.sort_values("victim")["mse"].to_numpy())
            noise = rng.normal(size=truth.shape) * level[:, None, None, None]
            pictures[picture_name(str(attack), str(threat))] = truth + noise
        return {name: np.clip(images, 0, 255).astype(np.uint8) for name, images in pictures.items()}

    return LazyPictures(by_key, load_one)


def arena(file: str = "config/adaptive.yaml", seeds: int = 10, channels: int = 3) -> StudyData:
    """Return the made-up results of a shipped study whose attacks begin from one stage and one seed."""
    study = load(ROOT / file)
    cells = [cell for cell in attack_cells(study) if cell.seed == 0]
    rows = [row for cell in cells for row in _rows(cell, study)]
    scores = pd.DataFrame(rows + _controls(cells))
    stated = study.model_dump(mode="json")
    return StudyData(
        scores=scores,
        utility=_utility(study, cells, seeds),
        pictures=_pictures(scores, channels),
        study=stated,
        threat_models=[threat.grants for threat in study.threat_models],
        planned=frozenset(cell.key for cell in cells),
    )
