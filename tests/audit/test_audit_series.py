"""Leakage by stage, batch size and local steps: a drawing and a table for each axis that varies, and for no other."""

from __future__ import annotations

from itertools import pairwise

import pytest
from page_outline import Outline, outlined

from gradsiege.auditing.audit import Audit
from gradsiege.auditing.page.page import render
from gradsiege.auditing.page.series import Series, Value, placed, series
from gradsiege.auditing.page.tables import Table


@pytest.fixture(scope="module")
def outline(varied: Audit) -> Outline:
    return outlined(render(varied))


def test_every_axis_is_drawn_in_its_order(varied: Audit) -> None:
    drawn = {one.name: [point.label for point in one.points] for one in series(varied.findings)}
    # Stages stay in the order in which they are given, numbers are sorted; the first situation stands on every axis.
    assert drawn == {
        "stages": ["round 9", "round 10"],
        "batches": ["1", "2", "4"],
        "steps": ["1", "2"],
    }


def test_points_are_the_findings_and_higher_is_more_leakage(varied: Audit) -> None:
    numbers = {one.situation.key: one.psnr.estimate for one in varied.findings}
    for drawn in series(varied.findings):
        told = [float(row[1].split(" ")[0]) for row in drawn.table.rows]
        assert set(told) <= {round(value, 1) for value in numbers.values()}
        ordered = sorted(zip(told, drawn.points, strict=True), key=lambda pair: pair[0])
        heights = [point.y for _, point in ordered]
        assert None not in heights
        assert heights == sorted(heights, reverse=True), "y grows downwards"
        for point in drawn.points:
            assert 0 < point.x < drawn.width
            assert 0 < (point.y or 0) < drawn.height


def test_labels_of_many_rounds_do_not_run_into_each_other() -> None:
    for count, label in ((3, "round 1"), (20, "round 10"), (8, "a-checkpoint-with-a-long-name")):
        values = [Value(label, 10.0 + place, 9.0, 40.0, 8.0, "") for place in range(count)]
        points, grid = placed(values, 5.0)
        drawn = Series("x", "X", "Round", points, grid, "", Table("", (), []))
        places = [point.x for point in points[:: drawn.every]]
        assert all(after - before >= 6 * len(label) for before, after in pairwise(places))
        assert (drawn.every == 1) == (count == 3)


def test_an_audit_of_one_situation_draws_no_axis(whole: Audit) -> None:
    assert series(whole.findings) == []
    assert "How leakage changes" not in render(whole)


def test_the_page_names_every_drawing_and_table(varied: Audit, outline: Outline) -> None:
    page = render(varied)
    for title in ("By stage of training", "By batch size", "By local steps"):
        assert f"<h3>{title}</h3>" in page
    drawings = [tag for tag in outline.attributes("svg") if tag.get("role") == "img"]
    assert len(drawings) == 4
    assert "Stage round 10: " in page
