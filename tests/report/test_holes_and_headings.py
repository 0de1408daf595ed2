"""What stands where a result is missing, and headings of many attacks."""

from __future__ import annotations

import dataclasses

import pandas as pd

from gradsiege.report.data import LazyPictures, StudyData
from gradsiege.report.figures import attack_defense_heatmap, gallery


def _with_counters(data: StudyData) -> StudyData:
    """The made-up study with an answer to TIP, and a plan that leaves GI-PIP out under noise."""
    answer = "inverting_gradients-tip.whitened"
    rows = data.scores.query("attack == 'inverting_gradients' and defense == 'tip'")
    informed = rows.assign(attack=answer, threat_model="informed", psnr=rows["psnr"] + 1)
    scores = pd.concat([data.scores, informed], ignore_index=True).query("training_stage == 'late'")
    scores = scores.query("attack != 'gi_pip' or defense != 'gaussian-sigma0.01'")
    item = {"id": answer, "name": "inverting_gradients", "counter": "tip.whitened"}
    cell = ["dataset", "model", "defense", "training_stage", "protocol", "seed"]
    attacks = scores[scores["kind"] == "attack"].astype({"seed": str})
    planned = {
        "/".join(line[:5]) + f"/seed{line[5]}/{line[6]}/{line[7]}"
        for line in attacks[[*cell, "threat_model", "attack"]].itertuples(index=False)
    }
    # Planned, and without a result.
    planned |= {key.replace("gaussian-sigma0.01", "gaussian-sigma0.1") for key in planned}
    return dataclasses.replace(
        data,
        scores=scores,
        study={**data.study, "attacks": [*data.study["attacks"], item]},
        threat_models=[*data.threat_models, {"id": "informed", "disclosure": True}],
        planned=frozenset(planned),
    )


def test_a_hole_of_the_heat_map_says_what_it_is(made_up_study: StudyData) -> None:
    data = _with_counters(made_up_study)
    place = ("photos", "convnet", "none", "late", "fedsgd")
    assert (
        data.why_missing(place, "informed", "inverting_gradients-tip.whitened") == "not applicable"
    )
    noisy = ("photos", "convnet", "gaussian-sigma0.01", "late", "fedsgd")
    assert data.why_missing(noisy, "labels_inferred", "gi_pip") == "cut"
    lost = ("phantom", "convnet", "gaussian-sigma0.1", "late", "fedsgd")
    assert data.why_missing(lost, "labels_inferred", "inverting_gradients") == "not run"
    assert data.why_missing(lost) == "not run", "controls of an observation that is in the study"
    assert made_up_study.why_missing(place, "informed", "gi_pip") == "not run", "no plan is known"
    figure = attack_defense_heatmap.draw(data).figure
    assert figure is not None
    photos, phantom, _ = figure.axes
    words = [text.get_text() for text in photos.texts]
    assert words.count("–") == 3, "the counter on the three settings that it does not answer"
    assert "not run" not in words
    assert len(photos.patches) == 1, "GI-PIP was left out under one setting"
    controls = data.scores.query("kind == 'control'")["attack"].nunique()
    assert [text.get_text() for text in phantom.texts].count("not run") == controls + 1


def test_headings_of_a_gallery_keep_clear_of_pictures_and_page(made_up_study: StudyData) -> None:
    """Thirty attacks with long names: the sheet stays as wide as a page and no heading lies on a picture."""
    many = [f"gi_pip-an_attack_with_a_long_name_{number}" for number in range(30)]
    scores = made_up_study.scores.query("dataset == 'photos' and defense == 'none'")
    of_attack = scores.query("attack == 'gi_pip'")
    more = pd.concat([of_attack.assign(attack=name) for name in many])
    load = made_up_study.pictures.__getitem__
    pictures = LazyPictures(
        [key for key in made_up_study.pictures if key.startswith("photos/convnet/none/")],
        lambda key: {**load(key), **dict.fromkeys(many, load(key)["gi_pip"])},
    )
    data = dataclasses.replace(made_up_study, scores=pd.concat([scores, more]), pictures=pictures)
    exhibit = gallery.draw(data)
    assert set(many) <= set(exhibit.data["attack"])
    figure = exhibit.figure
    assert figure is not None
    assert figure.get_size_inches()[0] <= 10.5
    axes = figure.axes[0]
    bands = sum(text.get_text() == "Original" for text in axes.texts)
    assert 3 <= bands <= 6
    assert len(axes.images) == 3 * (scores["attack"].nunique() + 30 + bands), (
        "the original once in each band"
    )
    names = [text for text in axes.texts if "long name" in text.get_text().replace("\n", " ")]
    assert len(names) == 30
    bottoms = sorted({round(image.get_extent()[2], 6) for image in axes.images})
    tops = sorted({round(image.get_extent()[3], 6) for image in axes.images})
    for name in names:
        _, foot = name.get_position()
        box = name.get_window_extent().transformed(axes.transData.inverted())
        head = min(box.y0, box.y1)  # y grows downwards
        assert any(foot < top for top in tops)
        assert not any(head < bottom < foot for bottom in bottoms), "a heading lies on a picture"
        rules = [line.get_ydata()[0] for line in axes.lines]
        assert any(rule < head + 0.02 for rule in rules)


def test_counters_share_a_row_that_names_the_best(made_up_study: StudyData) -> None:
    """Two answers to TIP: the cell has the stronger one's number and name; the generic counter keeps its row."""
    data = _with_counters(made_up_study)
    weak = data.scores.query("attack == 'inverting_gradients-tip.whitened'")
    more = {"tip.clean_tensors": 2.0, "generic.learned_reliability": 0.5}
    parts = [
        weak.assign(attack=f"inverting_gradients-{counter}", psnr=weak["psnr"] + gain)
        for counter, gain in more.items()
    ]
    items = [
        {"id": f"inverting_gradients-{counter}", "name": "inverting_gradients", "counter": counter}
        for counter in more
    ]
    both = dataclasses.replace(
        data,
        scores=pd.concat([data.scores, *parts], ignore_index=True),
        study={**data.study, "attacks": [*data.study["attacks"], *items]},
        planned=frozenset(),
    )
    drawn = attack_defense_heatmap.draw(both)
    assert drawn.figure is not None
    photos = drawn.figure.axes[0]
    names = [tick.get_text().replace("\n", " ") for tick in photos.get_yticklabels()]
    assert names.count("Best informed") == 1
    assert sum("generic" in name for name in names) == 1
    words = [text.get_text().replace("\n", " ") for text in photos.texts]
    assert "clean tensors" in words
    assert "whitened" not in words
    best = both.summary.query("attack.str.contains('clean_tensors') and dataset == 'photos'")
    assert words.count(f"{best['psnr'].iloc[0]:.1f}") >= 1
    assert set(drawn.data["attack"]) >= {item["id"] for item in items}, "the data hold every one"


def test_an_identification_has_no_part_in_the_heat_map(made_up_study: StudyData) -> None:
    """It returns a picture of the gallery: at a hit 100 dB, which would squeeze all attacks into one colour."""
    attacks = made_up_study.scores.query("attack == 'gi_pip'")
    hits = attacks.assign(attack="identification", kind="identification", psnr=100.0)
    scores = pd.concat([made_up_study.scores, hits], ignore_index=True)
    with_hits = attack_defense_heatmap.draw(dataclasses.replace(made_up_study, scores=scores))
    pd.testing.assert_frame_equal(
        with_hits.data, attack_defense_heatmap.draw(made_up_study).data, check_dtype=False
    )
    assert with_hits.figure is not None
    assert with_hits.figure.axes[-1].get_ylim()[1] < 40.0
