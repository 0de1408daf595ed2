"""`gradsiege claims` on a study that has run: every claim, its verdict, and a reason where there is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gradsiege.inspection import claims
from gradsiege.report.load import load_study
from gradsiege.stages.publish import publish
from gradsiege.study import Study
from gradsiege.study.ledger import FILE, load

Finished = tuple[Study, Path]
Verb = Callable[..., int]
ROOT = Path(__file__).parents[2]
OWN = """
claims:
  - id: noise_protects
    paper: Made up
    source: nowhere
    place: nowhere
    statement: Noise changes nothing [at all].
    rule: equivalent
    tolerance: {psnr: 90.0}
    cells: {defense: gaussian, attack: inverting_gradients, training_stage: untrained}
    against: [{defense: none}]
    needs: {dataset: digits}
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "claims.yaml"
    path.write_text(OWN)
    return path


def plain(text: str) -> str:
    """The cells of the table without their borders and line breaks."""
    return " ".join(re.sub(r"[│┃├┤─━┏┓└┘┡┩┳╇┴┼╈]", " ", text).split())


def test_the_verb_prints_every_claim_of_the_ledger(
    finished_study: Finished,
    verb: Verb,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, root = finished_study
    monkeypatch.setenv("COLUMNS", "200")
    options = ("--study", root / "tiny.yaml", "--root", root, "--claims", ROOT / FILE)
    assert verb("claims", *options) == 0
    printed = capsys.readouterr().out
    known = load(ROOT / FILE)
    for claim in known:
        assert re.search(rf"(^|\W){re.escape(claim.id)}(\W|$)", printed)
    assert f"The ledger holds {len(known)} claims; verdicts: " in plain(printed)
    assert "\x1b" not in printed, "no colours in a pipe"
    assert all(len(line) <= 200 for line in printed.splitlines())


def test_a_narrow_terminal_gets_paragraphs_and_the_tally_comes_first(
    finished_study: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, root = finished_study
    monkeypatch.setenv("COLUMNS", "70")
    printed = claims(study, root, ROOT / FILE)
    assert printed.startswith("The ledger holds ")
    assert "│" not in printed
    assert all(len(line) <= 70 for line in printed.splitlines())
    monkeypatch.setenv("COLUMNS", "200")
    wide = claims(study, root, ROOT / FILE)
    assert "┃ Verdict" in wide
    assert plain(wide).startswith(plain(printed)[:60])


def test_a_verdict_stands_with_its_numbers(finished_study: Finished, ledger: Path) -> None:
    study, root = finished_study
    printed = plain(claims(study, root, ledger))
    scores = load_study(study, root).scores
    cell = scores.query("attack == 'inverting_gradients' and training_stage == 'untrained'")
    means = cell.groupby("defense")["psnr"].mean()
    difference = f"{means['gaussian'] - means['none']:.2f} dB".replace("-", "−")
    assert f"Gaussian noise against No defense: {difference}" in printed
    assert "reproduced" in printed
    assert "stand-in" not in printed
    assert "Noise changes nothing [at all]." in printed, "brackets are text, not markup"


def test_what_comes_from_other_data_is_marked(finished_study: Finished, ledger: Path) -> None:
    study, root = finished_study
    text = ledger.read_text().replace("dataset: digits}", "dataset: mnist}\n    transfers: true")
    ledger.write_text(text)
    assert re.search(r"(reproduced|undecided) \(stand-in", plain(claims(study, root, ledger)))


def test_a_ledger_that_is_absent_or_wrong_is_an_error_with_its_code(
    finished_study: Finished, verb: Verb, capsys: pytest.CaptureFixture[str], ledger: Path
) -> None:
    _, root = finished_study
    options = ("--study", root / "tiny.yaml", "--root", root, "--claims")
    assert verb("claims", *options, root / "nowhere.yaml") == 3
    assert "nowhere.yaml does not exist" in capsys.readouterr().err
    ledger.write_text(OWN.replace("tolerance", "tolerances"))
    assert verb("claims", *options, ledger) == 3
    assert "did you mean 'tolerance'?" in capsys.readouterr().err


def test_the_table_of_claims_is_published_as_data(
    study_copy: Finished, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, root = study_copy
    monkeypatch.chdir(ROOT)
    assert verb("publish", "table_claims", "--study", root / "tiny.yaml", "--root", root) == 0
    table = pd.read_csv(root / "results" / "tiny" / "tables" / "table_claims_data.csv")
    assert set(table["claim"]) == {claim.id for claim in load(ROOT / FILE)}
    verdicts = table.loc[table["quantity"] == "claim_verdict", "text"]
    assert len(verdicts)
    assert "reproduced" not in set(verdicts), "digits are not the claim's own data"


def test_a_study_that_never_ran_is_told_in_a_sentence(tiny: Study, tmp_path: Path) -> None:
    said = claims(tiny, tmp_path, ROOT / FILE)
    assert said.startswith("The study tiny has measured nothing yet that a claim asks for")
    assert f"all {len(load(ROOT / FILE))} claims are not run" in said
    assert "\n" not in said


def test_an_item_without_a_finished_cell_is_said_to_be_empty(
    tiny: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(["table_attacks"], tiny, tmp_path, tmp_path / "tiny.yaml")
    said = capsys.readouterr().err
    assert (
        "table_attacks is empty: the study has nothing of the kind, or its cells are not finished"
        in said
    )
