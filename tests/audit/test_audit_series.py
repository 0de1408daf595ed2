"""Leakage by stage, batch size and local steps: a drawing and a table for each axis that varies, and for no other."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from page_outline import Outline, outlined

from gradsiege.auditing.audit import Audit
from gradsiege.auditing.page.page import render
from gradsiege.auditing.page.sentences import number
from gradsiege.auditing.page.series import Series, Value, placed, series
from gradsiege.auditing.page.tables import Table
from gradsiege.auditing.situations import NONE


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
    # In the order of the labels that the test above names.
    keys = {
        "stages": [("round 9", 1, 1), ("round 10", 1, 1)],
        "batches": [("round 9", 1, 1), ("round 9", 2, 1), ("round 9", 4, 1)],
        "steps": [("round 9", 1, 1), ("round 9", 1, 2)],
    }
    estimates = {
        (place.stage, place.training.batch_size, place.training.steps): one.psnr.estimate
        for one in varied.findings
        for place in [one.situation]
        if place.name == NONE
    }
    for drawn in series(varied.findings):
        numbers = [estimates[key] for key in keys[drawn.name]]
        shown = [row[1].split(" ")[0] for row in drawn.table.rows]
        assert shown == [number(value) for value in numbers]
        ordered = sorted(zip(numbers, drawn.points, strict=True), key=lambda pair: pair[0])
        heights = [point.y or math.nan for _, point in ordered]
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
