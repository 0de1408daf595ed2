"""Sampling units: the scene that an image comes from, since crops of one photograph or images of one patient are not independent.

A score table may have a column `scene`. Without it every victim is a unit of its own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ids = NDArray[np.generic]


def scenes(table: pd.DataFrame) -> Ids:
    """Return the scene of each row; a row of unknown scene counts as a scene of its victim's own.

    >>> scenes(pd.DataFrame({"victim": [0, 1, 2], "scene": [7, 7, None]})).tolist()
    ['scene 7', 'scene 7', 'victim 2']
    """
    victim = table["victim"].to_numpy()
    known = table["scene"].notna().to_numpy() if "scene" in table else np.zeros(len(table), bool)
    if not known.any():
        return victim
    scene = table["scene"].fillna(-1).to_numpy(dtype=np.int64)
    if known.all():
        return scene
    named = zip(known, scene, victim, strict=True)
    return np.array(
        [f"scene {place}" if seen else f"victim {number}" for seen, place, number in named]
    )


def factors(table: pd.DataFrame) -> tuple[Ids, ...]:
    """Return the groupings whose members are dependent, the one with fewest groups first: one array ``[rows]`` each.

    Scenes alone where every victim lies in one scene. A victim with images of several scenes (a batch) crosses them: its
    images share an update, and images of one scene resemble each other, so scenes and victims both count.

    >>> nested = pd.DataFrame({"victim": [0, 1, 2], "scene": [7, 7, 8]})
    >>> crossed = pd.DataFrame({"victim": [0, 0, 1, 1, 2, 2], "scene": [7, 8, 7, 8, 7, 8]})
    >>> [len(np.unique(ids)) for ids in factors(nested)], [len(np.unique(ids)) for ids in factors(crossed)]
    ([2], [2, 3])
    """
    scene, victim = scenes(table), table["victim"].to_numpy()
    _, first, inverse = np.unique(victim, return_index=True, return_inverse=True)
    if (scene[first][inverse] == scene).all():
        return (scene,)
    fewest, most = sorted((scene, victim), key=lambda ids: len(np.unique(ids)))
    return fewest, most


def units(table: pd.DataFrame) -> Ids:
    """Return one grouping for tests that know but one: the coarsest of `factors`."""
    return factors(table)[0]


def count_scenes(table: pd.DataFrame) -> float:
    """Return the number of scenes; NaN where no row's scene is known.

    >>> count_scenes(pd.DataFrame({"victim": [0, 1], "scene": [7, 7]})), count_scenes(pd.DataFrame({"victim": [0]}))
    (1.0, nan)
    """
    if "scene" not in table or table["scene"].isna().all():
        return float("nan")
    return float(len(np.unique(scenes(table))))
