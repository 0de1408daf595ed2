"""The chart of the headline: lines, dots and bands of planted long data, and of the table of a kept run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gradsiege.report.figures import headline

KEPT = Path(__file__).parents[2] / "docs" / "results" / "adaptive" / "table_headline_data.csv"
PLACE = {"dataset": "photos", "model": "convnet", "training_stage": "late", "protocol": "fedsgd"}


def rows(
    defense: str, rank: float, comparable: float | None, **psnr: float
) -> list[dict[str, object]]:
    ids = {
        **PLACE,
        "defense": defense,
        "role": "",
        "low": float("nan"),
        "high": float("nan"),
        "text": "",
    }
    table = [ids | {"quantity": "verdict", "text": "undecided"}]
    table += [ids | {"quantity": "rank", "value": rank}] if rank else []
    table += [] if comparable is None else [ids | {"quantity": "comparable", "value": comparable}]
    for role, value in psnr.items():
        limits = {"value": value, "low": value - 1, "high": value + 1}
        table.append(ids | limits | {"role": role, "quantity": "psnr"})
    hits = {"value": 0.25, "low": 0.1, "high": 0.5, "role": "worst_identified"}
    return [*table, ids | hits | {"quantity": "identified"}]


@pytest.fixture(scope="module")
def long() -> pd.DataFrame:
    bands = {"no_defense": 28.0, "floor": 14.5}
    return pd.DataFrame(
        rows("costly", 0, 0.0, non_adaptive=9.0, **bands)
        + rows("unsure", 0, None, non_adaptive=9.0, **bands)
        + rows("second", 2, 1.0, non_adaptive=15.0, generic=20.0, best_informed=21.0, **bands)
        + rows("first", 1, 1.0, non_adaptive=12.0, adaptive=13.0, **bands)
    )


def test_lines_are_ranked_and_blocks_of_accuracy_follow(long: pd.DataFrame) -> None:
    ((head, lines),) = headline.panels(long).items()
    assert head == "Photos, ConvNet"
    assert [line.defense for line in lines] == ["First", "Second", "Unsure", "Costly"]
    assert [line.block for line in lines] == [1.0, 1.0, 0.5, 0.0]
    first, second = lines[:2]
    assert second.dots == {
        "non_adaptive": (15.0, 14.0, 16.0),
        "generic": (20.0, 19.0, 21.0),
        "best_informed": (21.0, 20.0, 22.0),
    }
    assert first.dots["best_informed"] == (13.0, 12.0, 14.0), (
        "the best of the informed, as in older tables"
    )
    assert first.hits == (0.25, 0.1, 0.5)


def test_the_chart_shows_every_dot_and_both_bands(long: pd.DataFrame) -> None:
    figure = headline.sheet(headline.panels(long))
    left, right = figure.axes
    dots = [line for line in left.lines if line.get_marker() in ("o", "D", "s")]
    assert sorted(float(line.get_xdata()[0]) for line in dots) == [9, 9, 12, 13, 15, 20, 21]
    bands = {line.get_label(): line.get_xdata()[0] for line in left.lines}
    assert bands["No defense"] == 28.0
    assert bands["Floor"] == 14.5
    assert left.yaxis_inverted(), "the most private on top"
    words = {text.get_text() for text in [*left.texts, *right.texts]}
    assert {"accuracy unknown", "accuracy not equal", "undecided"} <= words
    shares = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "^"]
    assert shares == [25.0] * 4


def test_a_block_has_room_for_its_words_and_none_lie_on_dots(long: pd.DataFrame) -> None:
    ((_, lines),) = headline.panels(long).items()
    places = headline.heights(lines)
    assert places == [0.0, 1.0, 2.75, 4.5], "ranked lines, then a head above each other block"
    figure = headline.sheet(headline.panels(long))
    figure.draw_without_rendering()
    left = figure.axes[0]
    frame = left.get_window_extent()
    words = [text for text in left.texts if text.get_text()]
    assert {"Rank", "1", "2", "accuracy unknown"} <= {text.get_text() for text in words}
    assert all(text.get_window_extent().x1 <= frame.x0 for text in words)


def test_the_table_of_a_kept_run_is_drawn() -> None:
    parts = headline.panels(pd.read_csv(KEPT, dtype={"text": str}).fillna({"text": ""}))
    lines = parts["Photos, ConvNet"]
    assert len(lines) == 23
    bare = [line for line in lines if line.verdict == "baseline"]
    assert [line.defense for line in bare] == ["No defense"], "it takes a rank, and so a line"
    lines = [line for line in lines if line not in bare]
    ranks = [line.rank for line in lines if line.rank == line.rank]
    assert ranks == sorted(ranks)
    assert all(set(line.dots) == {"non_adaptive", "best_informed"} for line in lines)
