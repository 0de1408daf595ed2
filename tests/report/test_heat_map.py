"""The heat map of a shipped study file with made-up numbers: sparse counters in one row, words inside their cells."""

from __future__ import annotations

import itertools

import pytest
from arena import arena
from matplotlib.axes import Axes

from gradsiege.report.data import StudyData
from gradsiege.report.figures import attack_defense_heatmap
from gradsiege.report.folding import methods


@pytest.fixture(scope="module")
def full() -> StudyData:
    return arena("tests/support/every_defense.yaml")


@pytest.fixture(scope="module")
def panels(full: StudyData) -> list[Axes]:
    figure = attack_defense_heatmap.draw(full).figure
    assert figure is not None
    figure.draw_without_rendering()
    return figure.axes[:-1]


def test_all_sparse_counters_share_one_row(panels: list[Axes]) -> None:
    names = [tick.get_text().replace("\n", " ") for tick in panels[0].get_yticklabels()]
    assert names.count("Best informed") == 1
    assert not [name for name in names if "TIP" in name or "GI-PIP" in name]
    words = {text.get_text().replace("\n", " ") for text in panels[0].texts}
    assert "scale free, GradInversion" in words, "an attack other than the usual one is named"
    assert "sign consistent" in words


def test_words_stay_inside_their_cells(panels: list[Axes]) -> None:
    for panel in panels:
        cells = [panel.transData.transform([(x, y)])[0] for x in (0, 1) for y in (0, 0.27)]
        wide = cells[2][0] - cells[0][0]
        edges = panel.get_yticks(minor=True)
        for text in panel.texts:
            box = text.get_window_extent()
            column, y = text.get_position()
            centre = panel.transData.transform((column, 0))[0]
            assert abs((box.x0 + box.x1) / 2 - centre) < 2
            assert box.width <= wide, text.get_text()
            row = int((edges <= y + 1e-6).sum())
            bottom = panel.transData.transform((0, edges[row]))[1]
            assert box.y0 >= bottom - 0.5, f"{text.get_text()} runs over its cell"


def test_words_do_not_lie_on_each_other(panels: list[Axes]) -> None:
    for panel in panels:
        boxes = [text.get_window_extent() for text in panel.texts]
        for first, second in itertools.combinations(boxes, 2):
            assert not first.padded(-0.5).overlaps(second.padded(-0.5))


def test_a_panel_has_the_defenses_of_its_network_alone(panels: list[Axes]) -> None:
    names = [tick.get_text() for tick in panels[1].get_xticklabels()]
    assert names == [
        "No defense",
        "DP-SGD (noise multiplier 0.01)",
        "DP-SGD (noise multiplier 0.1)",
    ]


def test_counters_that_answer_most_columns_keep_their_rows(full: StudyData) -> None:
    """With TIP alone the rows of its counters are full: what a study of counters compares."""
    answer = "inverting_gradients-tip.whitened"
    pairs = [("inverting_gradients", "labels_inferred"), (answer, "informed")]
    dense = methods(full, pairs, ["none", "tip-ratio0.1", "tip-ratio0.6"])
    assert [(row.members, row.folded) for row in dense] == [
        (("inverting_gradients",), False),
        ((answer,), False),
    ]
    sparse = methods(full, pairs, ["none", "tip-ratio0.1", "agp", "sign"])
    assert [row.folded for row in sparse] == [False, True]
