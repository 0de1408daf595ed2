"""Names of points: none lies on another, on a point or outside the axes; values are pushed apart as little as possible."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from arena import arena
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from scipy.optimize import minimize

from gradsiege.report import placing, style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.figures import privacy_utility, privacy_utility_curves


def words_box(text: Text) -> Bbox:
    """The extent of the words alone; that of an annotation would hold its line as well."""
    return Text.get_window_extent(text)


def overlapping(panel: Axes) -> list[tuple[str, str]]:
    """Pairs of texts of a panel that overlap by more than half a pixel."""
    texts = [text for text in panel.texts if text.get_text().strip()]
    boxes = [(text.get_text(), words_box(text)) for text in texts]
    return [
        (first, second)
        for (first, box), (second, other) in itertools.combinations(boxes, 2)
        if box.padded(-0.5).overlaps(other.padded(-0.5))
    ]


@pytest.mark.parametrize("seed", range(4))
def test_names_of_crowded_points_keep_clear(seed: int) -> None:
    points = np.random.default_rng(seed).normal(0, 0.4, (14, 2)).round(3)
    figure = style.new_figure(3.0, 2.6, layout="constrained")
    panel = figure.subplots()
    panel.plot(*points.T, "o")
    panel.set(xlim=(-2, 2), ylim=(-2, 2))
    placing.settle(figure)
    names = [placing.Name(x, y, f"sigma {x:g}", "#000000") for x, y in points]
    assert placing.name_points(panel, names, points.tolist(), 6.0) == []
    figure.draw_without_rendering()
    assert len(panel.texts) == len(points)
    assert overlapping(panel) == []
    frame = panel.get_window_extent()
    for text in panel.texts:
        box = words_box(text)
        assert frame.contains(box.x0, box.y0)
        assert frame.contains(box.x1, box.y1)
        for x, y in panel.transData.transform(points):
            assert not (box.x0 < x < box.x1 and box.y0 < y < box.y1), "a name lies on a point"


def test_a_panel_without_room_says_which_names_it_leaves_out() -> None:
    figure = style.new_figure(0.6, 0.4)
    panel = figure.add_axes((0, 0, 1, 1))
    panel.set(xlim=(0, 1), ylim=(0, 1))
    name = placing.Name(0.5, 0.5, "much too long for this panel", "#000000")
    assert placing.name_points(panel, [name], [(0.5, 0.5)], 7.0) == [name.words]


def test_a_segment_through_a_box_is_seen() -> None:
    rng = np.random.default_rng(0)
    box = placing.Box(0.0, 0.0, 1.0, 0.5)
    for _ in range(200):
        start, end = rng.uniform(-2, 2, (2, 2))
        along = start + np.linspace(0, 1, 2001)[:, None] * (end - start)
        inside = ((abs(along[:, 0]) < 1.0) & (abs(along[:, 1]) < 0.5)).sum()
        if inside != 1:  # a touch of a corner falls between the samples
            assert box.crosses(tuple(start), tuple(end)) == (inside > 1)


def test_spread_values_are_the_nearest_that_keep_the_gap() -> None:
    """Against a general solver of the same problem."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        values = rng.uniform(0, 1, 6)
        moved = np.array(style.spread(values.tolist(), 0.15, 0.0, 1.0))
        order = np.argsort(values, kind="stable")
        assert (np.diff(moved[order]) >= 0.15 - 1e-9).all()
        assert moved.min() >= 0.0
        assert moved.max() <= 1.0 + 1e-9
        gaps = {"type": "ineq", "fun": lambda x: np.diff(x) - 0.15}
        solved = minimize(
            lambda x, wanted=values[order]: ((x - wanted) ** 2).sum(),
            np.linspace(0.1, 0.9, 6),
            bounds=[(0.0, 1.0)] * 6,
            constraints=[gaps],
            options={"ftol": 1e-12},
        )
        assert moved[order] == pytest.approx(solved.x, abs=1e-4)
    with pytest.raises(ValueError, match="do not fit"):
        style.spread([0.0, 0.0, 0.0], 1.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def full() -> StudyData:
    return arena("config/adaptive.yaml")


def laid_out(drawn: Drawn) -> list[Axes]:
    assert drawn.figure is not None
    drawn.figure.draw_without_rendering()
    return drawn.figure.axes


def test_every_strength_of_the_curves_is_named_and_none_lies_on_another(full: StudyData) -> None:
    table = privacy_utility_curves.plotted(full)
    panels = laid_out(privacy_utility_curves.draw(full))
    words = [text.get_text() for panel in panels for text in panel.texts]
    for value in table.loc[table["value"] != "", "value"]:
        assert words.count(value) >= 1, value
    assert [overlapping(panel) for panel in panels] == [[]] * len(panels)


def test_names_beside_the_scatter_do_not_overlap(full: StudyData) -> None:
    panels = laid_out(privacy_utility.draw(full))
    words = [text.get_text() for text in panels[0].texts]
    assert {"ratio 0.1", "ratio 0.6", "levels 16", "CENSOR, default", "as released"} <= set(words)
    assert [overlapping(panel) for panel in panels] == [[]] * len(panels)
