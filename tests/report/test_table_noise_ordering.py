"""The table of TIP's ordering: planted accuracies, and the sentence that follows from them."""

from itertools import product

import pandas as pd
import pytest
from narrow import MOST_COLUMNS

from gradsiege import catalogue
from gradsiege.report.data import StudyData
from gradsiege.report.tables import table_noise_ordering
from gradsiege.report.tables.table_noise_ordering import BROKEN, HOLDS, OPEN, PUBLISHED

SEEDS = (0, 1, 2)
NORMS = (None, 0.5)


def study(
    order: dict[float | None, tuple[float, float, float]], spread: float = 0.001
) -> StudyData:
    """Accuracies of TIP, AGP and DP by noise norm (None: published constants); clipping alone has 0.7."""
    defenses = [{"id": "none", "name": "none", "parameters": {}}]
    rows = []
    accuracies = {"none": 0.5, "clipped": 0.7}
    defenses.append({"id": "clipped", "name": "tip", "parameters": {"noise_norm": 0.0}})
    for norm, (name, accuracy) in (
        (norm, pair)
        for norm, values in order.items()
        for pair in zip(("tip", "agp", "tip_dp"), values, strict=True)
    ):
        identifier = f"{name}-{norm}"
        # A resolved study holds every parameter, defaults included.
        declared = catalogue.entries("defenses")[name].parameters
        parameters = {key: default for key, (_, default) in declared.items()} | {"noise_norm": norm}
        defenses.append({"id": identifier, "name": name, "parameters": parameters})
        accuracies[identifier] = accuracy
    # A control is not an arm of the order.
    control = {"id": "tip-random", "name": "tip", "parameters": {"selection": "random"}}
    for (place, (defense, accuracy)), seed in product(enumerate(accuracies.items()), SEEDS):
        value = accuracy + spread * (seed - 1) * (-1) ** place
        row = {"dataset": "photos", "model": "convnet", "defense": defense, "seed": seed}
        rows.append({**row, "round": 4, "accuracy": value, "status": "complete"})
        rows.append({**row, "round": 0, "accuracy": 0.1, "status": "complete"})
    return StudyData(pd.DataFrame(), pd.DataFrame(rows), study={"defenses": [*defenses, control]})


def test_unequal_noise_that_makes_the_order_is_named() -> None:
    data = study({None: (0.6, 0.4, 0.2), 0.5: (0.4, 0.5, 0.6)})
    drawn = table_noise_ordering.draw(data)
    assert drawn.shown is not None
    assert drawn.shown.shape[1] <= MOST_COLUMNS
    orders = drawn.data.dropna(subset=["order"])
    assert orders["noise"].to_list() == [PUBLISHED, "equal norm 0.50"]
    assert orders["order"].to_list() == [HOLDS, BROKEN]
    steps = drawn.data.query("method == 'tip' and against == 'agp'")
    assert steps["accuracy_change"].to_list() == pytest.approx([0.2, -0.1])
    arms = drawn.data.query("method == 'tip' and noise == 'equal norm 0.50'")
    assert arms["accuracy"].dropna().to_list() == pytest.approx([0.4])
    assert "unequal noise produces it" in drawn.caption
    assert "0 of 1 settings (1 broken)" in drawn.caption


def test_an_order_that_stands_at_equal_noise_is_said_to_stand() -> None:
    data = study({None: (0.6, 0.4, 0.2), 0.5: (0.6, 0.5, 0.4)})
    assert "stands at unequal and at equal noise" in table_noise_ordering.draw(data).caption


def test_seeds_that_disagree_leave_the_order_open() -> None:
    data = study({None: (0.6, 0.5, 0.4), 0.5: (0.6, 0.5, 0.4)}, spread=0.2)
    drawn = table_noise_ordering.draw(data)
    assert set(drawn.data["order"].dropna()) == {OPEN}
    assert "leave the published order undecided at the published constants" in drawn.caption
    assert "TIP stands 20.0 points above DP at the published constants" in drawn.caption


def test_an_order_that_is_reversed_is_said_not_to_appear() -> None:
    data = study({None: (0.4, 0.5, 0.6), 0.5: (0.5, 0.5, 0.5)})
    caption = table_noise_ordering.draw(data).caption
    assert "does not appear even at the published constants here (1 broken)" in caption
    assert "between 0.0 and 0.0 at equal noise" in caption


def test_without_equal_noise_nothing_follows() -> None:
    data = study({None: (0.6, 0.4, 0.2)})
    assert "nothing follows" in table_noise_ordering.draw(data).caption
    assert table_noise_ordering.draw(StudyData(pd.DataFrame(), pd.DataFrame())).data.empty
