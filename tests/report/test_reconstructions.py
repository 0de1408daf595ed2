"""The strip of reconstructions: its victim and settings by rule, never a restricted image, small enough for a page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import yaml
from arena import arena
from PIL import Image

from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.figures import reconstructions
from gradsiege.report.save import encode
from gradsiege.sharing.restrictions import restricted_data
from gradsiege.study import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def full() -> StudyData:
    return arena("tests/support/every_defense.yaml")


@pytest.fixture(scope="module")
def strip(full: StudyData) -> Drawn:
    return reconstructions.draw(full)


def restricted(data: StudyData) -> StudyData:
    """The same study, its images under the terms of a user who forbids to pass them on."""
    (item,) = data.study["datasets"]
    told = {**item, "name": "image_folder", "parameters": {"sharing": "restricted"}}
    return dataclasses.replace(data, study={**data.study, "datasets": [told]})


def test_the_victim_is_the_median_of_the_undefended_attack(full: StudyData, strip: Drawn) -> None:
    same = (full.scores["defense"] == "none") & (full.scores["model"] == "convnet")
    rows = full.scores[same & (full.scores["attack"] == "inverting_gradients")]
    ranked = rows.sort_values("psnr")["victim"].tolist()
    assert len(ranked) == 8
    median = ranked[round(0.5 * 7)]
    assert strip.data["victim"].unique().tolist() == [median]
    assert strip.data["image"].unique().tolist() == [0]
    assert set(strip.data["reference"]) == {"inverting_gradients"}
    others = full.scores.copy()
    # Reversed without a defense, unchanged everywhere else: the victim follows.
    picked = same & (others["attack"] == "inverting_gradients")
    others.loc[picked, "psnr"] = 50.0 - others.loc[picked, "psnr"]
    swapped = reconstructions.draw(dataclasses.replace(full, scores=others)).data
    assert swapped["victim"].unique().tolist() == [ranked[7 - round(0.5 * 7)]]


def test_pictures_are_those_of_the_best_attackers_by_the_mean(
    full: StudyData, strip: Drawn
) -> None:
    for _, row in strip.data.iterrows():
        same = (full.scores["defense"] == row["defense"]) & (full.scores["model"] == row["model"])
        aware = full.scores["threat_model"].str.startswith("informed")
        role = aware if row["role"] == "best_informed" else ~aware
        attacks = full.scores[same & role & (full.scores["kind"] == "attack")]
        means = attacks.groupby("attack")["psnr"].mean()
        assert row["attack"] == means.idxmax()
        of_victim = attacks[(attacks["attack"] == row["attack"])].set_index("victim")["psnr"]
        assert row["psnr"] == of_victim[row["victim"]]


def test_a_defense_stands_once_with_the_setting_that_leaves_least(
    full: StudyData, strip: Drawn
) -> None:
    names = [full.name_of("defenses", name) for name in strip.data["defense"].unique()]
    assert len(set(names)) == len(names) == 16
    assert names[0] == "none"
    attacks = full.summary[full.summary["kind"] == "attack"]
    worst = attacks.groupby("defense")["psnr"].max()
    for setting in strip.data["defense"].unique():
        name = full.name_of("defenses", setting)
        rivals = [d for d in worst.index if full.name_of("defenses", d) == name]
        assert name == "none" or worst[setting] == min(worst[rivals])
    shown = [worst[setting] for setting in strip.data["defense"].unique()[1:]]
    assert shown == sorted(shown, reverse=True)


def test_defenses_stand_on_the_network_of_the_undefended_picture(tmp_path: Path) -> None:
    raw = yaml.safe_load(
        (ROOT / "tests" / "support" / "every_defense.yaml").read_text(encoding="utf-8")
    )
    raw["models"][1].pop("only")
    raw["defenses"] = [
        "none",
        "sign",
        "ats",
        "tip",
        {"name": "gaussian", "sweep": {"sigma": [0.03, 0.1]}},
    ]
    raw |= {"priors": [], "threat_models": [{"id": "labels_inferred"}], "figures": []}
    raw["attacks"] = [{"name": "inverting_gradients", "iterations": 150}]
    raw["training_stages"] = ["untrained", "late"]
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    two = arena(str(tmp_path / "two.yaml"))
    # The second network and the later stage leak less behind every defense, which must not bring them in.
    two.scores.loc[two.scores["model"] == "convnet_group", "psnr"] -= 5.0
    two.scores.loc[two.scores["training_stage"] == "late", "psnr"] -= 5.0
    assert two.scores["training_stage"].nunique() == 2
    table = reconstructions.draw(two).data
    assert table["model"].unique().tolist() == ["convnet"]
    assert table["training_stage"].unique().tolist() == ["untrained"]
    assert table["defense"].nunique() == 5


def test_the_drawn_pixels_are_the_victims_own(full: StudyData, strip: Drawn) -> None:
    assert strip.figure is not None
    images = strip.figure.axes[0].images
    victim = int(strip.data["victim"].iloc[0])
    key = "photos/convnet/none/untrained/fedsgd/seed0"
    truth = full.pictures[key]["truth"][victim].transpose(1, 2, 0)
    np.testing.assert_array_equal(np.asarray(images[0].get_array()), truth)
    assert len(images) == 1 + len(strip.data)


def test_the_strip_is_small(strip: Drawn) -> None:
    assert strip.figure is not None
    assert len(encode(strip.figure, "png")) <= 150_000
    assert strip.figure.get_size_inches()[0] <= 7.3


def test_restricted_images_are_never_drawn(full: StudyData) -> None:
    drawn = reconstructions.draw(restricted(full))
    assert drawn.data.empty
    assert drawn.figure is not None
    assert not any(axes.images for axes in drawn.figure.axes)
    assert "forbid to show its images" in drawn.caption


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "figures").mkdir()
    (tmp_path / "tables").mkdir()
    names = ("headline", "reconstructions", "gallery", "tip_activation_maps", "utility_curve")
    for name in names:
        (tmp_path / "figures" / f"{name}.png").write_bytes(b"picture")
        pd.DataFrame({"psnr": [1.0]}).to_csv(tmp_path / "figures" / f"{name}.csv", index=False)
    (tmp_path / "tables" / "table_gains_data.csv").write_text("psnr\n1\n")
    return tmp_path


def test_keep_copies_the_strip_and_the_headline(keep: ModuleType, results: Path) -> None:
    names = {path.name for path in keep.drawings(results, withheld=False)}
    assert {"reconstructions.png", "headline.png", "utility_curve.png"} <= names
    assert {"table_gains_data.csv", "tip_activation_maps.png"} <= names
    assert "gallery.png" not in names
    (results / "figures" / "headline.csv").write_text("psnr\n")
    names = {path.name for path in keep.drawings(results, withheld=False)}
    assert "headline.png" not in names, "a chart that shows nothing is not kept"


def test_keep_leaves_out_every_image_where_the_terms_forbid_it(
    keep: ModuleType, results: Path
) -> None:
    kept = keep.drawings(results, withheld=True)
    assert not [path for path in kept if path.stem in ("reconstructions", "tip_activation_maps")]
    assert {path.name for path in kept} >= {"headline.png", "utility_curve.png"}
    assert restricted_data(load(ROOT / "config" / "adaptive.yaml")) == []
    assert restricted_data(load(ROOT / "config" / "paper" / "tip.yaml")), "decides `withheld`"


def test_keep_draws_anew_what_snakemake_does_not(
    keep: ModuleType, full: StudyData, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chart of an earlier keep would stand beside the tables of a later run."""
    drawn: list[str] = []
    monkeypatch.setattr(keep, "save", lambda what, folder, name: drawn.append(name))
    monkeypatch.setattr(keep, "draw", lambda name, data: None)
    keep._draw_face(full, results, ["headline", "gallery"])
    assert drawn == ["reconstructions"]
    (results / "figures" / "headline.png").unlink()
    keep._draw_face(full, results, ["headline", "gallery"])
    assert drawn == ["reconstructions", "headline", "reconstructions"], "a chart that is missing"


def test_a_strip_too_large_is_reduced(keep: ModuleType, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    source, target = tmp_path / "reconstructions.png", tmp_path / "kept.png"
    Image.fromarray(noise).save(source)
    assert source.stat().st_size > 150_000
    keep.shrink(source, target)
    assert target.stat().st_size <= 150_000
    assert Image.open(target).size == (400, 300)
