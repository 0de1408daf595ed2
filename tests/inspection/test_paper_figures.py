"""The section of `gradsiege doctor` on the papers' tables and figures: real, standing in, or to be supplied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from planted_claims import PLAIN
from published import picture, publish, table

from gradsiege import pretrained
from gradsiege.datasets.sources import supply
from gradsiege.inspection import at_hand, doctor, paper_figures
from gradsiege.study import Study, parse
from gradsiege.study.ledger import FILE, load

ROOT = Path(__file__).parents[2]
PLANTED = PLAIN | {
    "id": "p.accuracy",
    "place": "accuracy figure, round 3, digitised",
    "value": {"accuracy": 0.5},
    "tolerance": {"accuracy": 0.02},
}
OTHER = {"id": "p.other", "place": "accuracy figure, digitised", "transfers": True}
Told = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def told(tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """A function that returns the rows on planted claims; nothing lies under the data root, nor in the folder of weights."""
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path / "weights"))

    def rows(*changes: dict[str, Any], study: Study = tiny) -> list[tuple[str, str]]:
        ledger = tmp_path / "config/claims.yaml"
        ledger.parent.mkdir(exist_ok=True)
        ledger.write_text(yaml.safe_dump({"claims": [{**PLANTED, **change} for change in changes]}))
        return paper_figures.rows(study, ledger)

    return rows


def add_copies(raw: dict[str, Any], tmp_path: Path, **parameters: str) -> None:
    """Lay a study file beside the ledger whose data set holds copies of CIFAR-10."""
    raw["study"] = "copies"
    raw["datasets"][0] |= {
        "name": "image_manifest",
        "id": "jpeg",
        "parameters": {"file": "jpeg/manifest.csv", "copies_of": "cifar10"},
    }
    (tmp_path / "config").mkdir()
    (tmp_path / "config/copies.yaml").write_text(yaml.safe_dump(raw))


def test_absent_data_are_to_be_supplied_once_with_checksum_command_and_terms(told: Told) -> None:
    figure, state, absent, steps, terms = told({}, {"id": "p.again"})
    assert figure == ("P, accuracy figure", "2 claims; s")
    assert state == ("", "cifar10: nothing stands in; to supply: cifar10")
    assert absent[0] == "to supply: cifar10"
    assert "cifar10/cifar-10-binary.tar.gz (sha256:" in absent[1]
    assert "`gradsiege download cifar10`" in steps[1]
    assert terms[1].endswith("(public)")


def test_published_bytes_are_real(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("cifar10", tmp_path / "data", monkeypatch)
    assert told({}) == [("P, accuracy figure", "1 claim; s"), ("", "cifar10: real: cifar10")]


def test_other_bytes_are_not_real(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("cifar10", tmp_path / "data", monkeypatch)
    file = tmp_path / "data/cifar10/cifar-10-binary.tar.gz"
    file.write_bytes(bytes(file.stat().st_size))
    _, state, (name, problem), *_ = told({})
    assert state[1].endswith("to supply: cifar10")
    assert (name, problem.partition(":")[0]) == ("to supply: cifar10", "wrong file")


def test_any_of_several_data_sets_will_do(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("cifar10", tmp_path / "data", monkeypatch)
    wanted = {"needs": {"dataset": ["imagenet", "cifar10"]}}
    states = [text for name, text in told({}, {"id": "p.any", **wanted}) if not name]
    assert states[:2] == [
        "cifar10 (1 claim): real: cifar10",
        "imagenet or cifar10 (1 claim): real: cifar10",
    ]


def test_a_study_tests_what_transfers_on_data_that_stand_in(told: Told) -> None:
    assert told(OTHER)[1][1] == "cifar10: stand-in: digits; to supply: cifar10"
    assert told({}, OTHER)[1][1] == "cifar10: stand-in: digits, for 1 of 2; to supply: cifar10"
    (_, state), *_ = told({**OTHER, "cells": {"defense": "tip"}})[1:]
    assert "nothing stands in" in state, "the study has no such defense"
    paired = {"rule": "difference_sign", "direction": "lower", "against": [{"defense": "tip"}]}
    assert "nothing stands in" in told({**OTHER, **paired})[1][1]


def test_copies_stand_in_where_they_are_at_hand(
    told: Told, tiny_raw: dict[str, Any], tmp_path: Path
) -> None:
    add_copies(tiny_raw, tmp_path)
    rows = told({})
    assert rows[1][1] == "cifar10: nothing stands in; to supply: cifar10, or the copies jpeg"
    absent = dict(rows)["to supply: jpeg"]
    assert absent.endswith(": jpeg/manifest.csv")
    picture(tmp_path / "data/jpeg/a.jpg", 0)
    table(tmp_path / "data/jpeg/manifest.csv", ("path", "label"), ("a.jpg", "cat"))
    rows = told({})
    assert rows[1][1] == "cifar10: stand-in: the copies jpeg; to supply: cifar10"
    assert "to supply: jpeg" not in dict(rows)


def test_a_study_file_that_cannot_be_read_is_named(told: Told, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/mine.yaml").write_text("study: mine\n")
    unread = dict(told({}))[str(tmp_path / "config/mine.yaml")]
    assert unread.startswith("not searched for stand-ins: ")


def test_only_places_where_a_source_has_numbers_are_listed(told: Told) -> None:
    unvalued = {
        "rule": "difference_sign",
        "value": {},
        "direction": "lower",
        "against": [{"defense": "gaussian"}],
    }
    rows = told(
        {"origin": "derived"},
        {"id": "p.words", "place": "abstract", **unvalued},
        {"id": "p.table", "place": "table VIII (rows A and B; numbers not obtained)", **unvalued},
    )
    named = {name: text for name, text in rows if name and not name.startswith("to supply")}
    assert named == {"P, table VIII": "1 claim, numbers not obtained; s"}


def test_weights_of_a_published_generator(
    told: Told, tiny_raw: dict[str, Any], tmp_path: Path
) -> None:
    tiny_raw["priors"] = [{"name": "staged_gan"}]
    tiny_raw["attacks"] = [{"name": "gifd", "iterations": 5, "prior": "staged_gan"}]
    needs = {"dataset": "cifar10", "prior": ["biggan", "stylegan2"]}
    shape = {"value": {"psnr": 20.0}, "tolerance": {"psnr": 1.0}, "cells": {"attack": "gifd"}}
    rows = told({**shape, "needs": needs}, study=parse(tiny_raw))
    assert rows[2][1] == (
        "weights of biggan or stylegan2: stand-in: staged_gan; to supply: biggan or stylegan2"
    )
    assert "obtain them from their authors" in dict(rows)["to supply: biggan"]
    trained = {**needs, "prior": ["staged_gan", "stylegan2"]}
    rows = told({**shape, "needs": trained}, study=parse(tiny_raw))
    assert not any(text.startswith("weights of") for _, text in rows), "a trained generator will do"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/stylegan2-ffhq-config-f.pt").write_bytes(b"as published")
    rows = told({**shape, "needs": needs}, study=parse(tiny_raw))
    assert rows[2][1] == "weights of biggan or stylegan2: real: stylegan2"


def test_weights_of_lpips(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = {"value": {"lpips": 0.5}, "tolerance": {"lpips": 0.1}}
    monkeypatch.setattr(at_hand, "trunk", lambda name: f"present: a file of {name}")
    assert ("", "weights of lpips alex: real: lpips alex") in told(measured)
    monkeypatch.setattr(at_hand, "trunk", lambda name: f"absent: no file of {name}")
    rows = told(measured)
    assert ("", "weights of lpips alex: to supply: lpips alex") in rows
    assert rows[-1] == ("to supply: lpips alex", "absent: no file of alex")


def test_a_ledger_that_is_not_there_stops_nothing(tiny: Study, tmp_path: Path) -> None:
    ((name, text),) = paper_figures.rows(tiny, tmp_path / "claims.yaml")
    assert name == str(tmp_path / "claims.yaml")
    assert text.endswith("does not exist")


def test_the_ledger_of_the_repository(
    tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path))
    claims = load(FILE)
    papers = {paper for paper, _, _ in paper_figures.by_figure(claims)}
    assert papers == {claim.paper for claim in claims}, "every paper has a row"
    section = doctor(tiny, tmp_path).partition("\nFigures of the papers\n")[2]
    for name in ("TIP, accuracy figure", "GIFD, table VIII", "GI-PIP, bar chart"):
        assert f"  {name}" in section
    for name in ("cifar10", "imagenet", "covid_radiography", "cifar10_jpeg"):
        assert f"  to supply: {name} " in section
