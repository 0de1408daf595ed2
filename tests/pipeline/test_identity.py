"""What a source lists is part of the identity of its cells: what changes there is noticed, named, and never confused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from published import picture, publish, table

from gradsiege import artifacts
from gradsiege.datasets import obtained
from gradsiege.datasets.sources import supply
from gradsiege.errors import StudyError
from gradsiege.pipeline import absent_data, identity
from gradsiege.pipeline.cells import Cell, cells, digest
from gradsiege.pipeline.status import FINISHED, STALE, survey
from gradsiege.study import Study, load, parse

Raw = dict[str, Any]
Verb = Callable[..., int]
COUNTS = {"train": 12, "test": 6, "aux": 6, "public": 4, "tune": 2, "victims": 4}
ROWS = [
    (f"{n}.png", ("sick", "well")[n % 2], f"p{n // 2}", "test" if n > 50 else "train")
    for n in range(60)
]


def write_table(root: Path, rows: list[tuple[str, ...]]) -> None:
    table(root / "data/mine/list.csv", ("path", "label", "group", "part"), *rows)


@pytest.fixture
def mine(tiny_raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a study file of one's own pictures, in a table."""
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path / "data"))
    monkeypatch.delenv(identity.VARIABLE, raising=False)
    for number in range(60):
        picture(tmp_path / f"data/mine/{number}.png", number, (16, 16))
    write_table(tmp_path, ROWS)
    tiny_raw["datasets"] = [
        {
            "name": "image_manifest",
            "id": "own",
            "size": 16,
            "counts": COUNTS,
            "parameters": {"file": "mine/list.csv"},
        }
    ]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tiny_raw))
    return tmp_path


def now(root: Path) -> Study:
    return identity.identified(load(root / "study.yaml"), root)


def digests(study: Study) -> list[str]:
    return [digest(cell, study) for of_stage in cells(study).values() for cell in of_stage]


def test_a_study_of_ones_own_pictures_is_kept_with_its_finished_cells(
    mine: Path, verb: Verb, keep: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads the file alone takes every cell for one of other pictures, and keeps a record without a commit."""
    monkeypatch.chdir(mine)
    assert verb("fetch", "own", "--study", "study.yaml") == 0
    (mine / "results/tiny/tables").mkdir(parents=True)
    (mine / "results/tiny/tables/table_claims_data.csv").write_text("claim\n")
    (mine / "kept").mkdir()
    monkeypatch.setattr(keep, "KEPT", mine / "kept")
    folder = keep.keep(Path("study.yaml"))
    record = json.loads((folder / "run.json").read_text())
    assert record["stages"]["fetch"]["finished"] == 1
    assert record["commits"]
    assert not [line for line in record["not run"] if "other settings" in line]


def relabel(root: Path) -> None:
    write_table(root, [("0.png", "well", *ROWS[0][2:]), *ROWS[1:]])


def regroup(root: Path) -> None:
    write_table(root, [(*ROWS[0][:2], "p9", "train"), *ROWS[1:]])


def part_anew(root: Path) -> None:
    write_table(root, [*ROWS[:-1], (*ROWS[-1][:3], "train")])


def add(root: Path) -> None:
    picture(root / "data/mine/60.png", 60, (16, 16))
    write_table(root, [*ROWS, ("60.png", "sick", "p30", "train")])


def reorder(root: Path) -> None:
    """The order decides the split, and whether pictures are the same cannot be told from the hash of their list."""
    write_table(root, ROWS[::-1])


def replace(root: Path) -> None:
    picture(root / "data/mine/0.png", 99, (16, 16))


def replace_with_equal_size_and_time(root: Path) -> None:
    """As a tool does that restores times; only the inode's own time tells."""
    path = root / "data/mine/0.png"
    state, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)


CHANGES = [
    (relabel, "lists other labels"),
    (regroup, "lists other groups"),
    (part_anew, "lists other parts"),
    (add, "lists other pictures, or the same in another order"),
    (reorder, "lists other pictures, or the same in another order"),
    (replace, "holds pictures with other contents"),
    (replace_with_equal_size_and_time, "holds pictures with other contents"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[c.__name__ for c, _ in CHANGES])
def test_a_changed_source_changes_every_cell_and_is_named(
    mine: Path, verb: Verb, change: Callable[[Path], None], words: str
) -> None:
    assert verb("fetch", "own", "--study", mine / "study.yaml", "--root", mine) == 0
    before = now(mine)
    assert survey(before, mine)["fetch"][0].state == FINISHED
    assert digests(now(mine)) == digests(before), "nothing changed"
    change(mine)
    after = now(mine)
    assert not set(digests(after)) & set(digests(before))
    (found,) = survey(after, mine)["fetch"]
    assert (found.state, found.reason) == (STALE, f"the source of own {words}")


def test_other_data_sets_of_the_study_stay(mine: Path, tiny_raw: Raw) -> None:
    raw = yaml.safe_load((mine / "study.yaml").read_text())
    raw["datasets"].append({"name": "digits", "size": 16, "counts": COUNTS})
    (mine / "study.yaml").write_text(yaml.safe_dump(raw))

    def of_dataset(name: str) -> list[str]:
        study = now(mine)
        found = (cell for of_stage in cells(study).values() for cell in of_stage)
        return [digest(cell, study) for cell in found if cell.dataset == name]

    before = {name: of_dataset(name) for name in ("own", "digits")}
    relabel(mine)
    assert of_dataset("digits") == before["digits"]
    assert not set(of_dataset("own")) & set(before["own"])


def test_verify_says_why_and_track_does_not_take_one_for_the_other(
    mine: Path, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two studies that differ in their labels alone record two digests."""
    options = ("--study", mine / "study.yaml", "--root", mine)
    assert verb("fetch", "own", *options) == 0
    folder = Cell("fetch", dataset="own").folder(now(mine), mine)
    first = artifacts.read_manifest(folder)["digest"]
    relabel(mine)
    assert verb("verify", *options) == 4
    assert "fetch own: the source of own lists other labels" in capsys.readouterr().out
    assert verb("fetch", "own", *options) == 0
    assert artifacts.read_manifest(folder)["digest"] != first


def test_an_unplugged_source_makes_nothing_stale(mine: Path, verb: Verb) -> None:
    assert verb("fetch", "own", "--study", mine / "study.yaml", "--root", mine) == 0
    before = digests(now(mine))
    (mine / "data/mine").rename(mine / "unplugged")
    study = now(mine)
    assert digests(study) == before
    assert absent_data.absent(study, mine) == {}
    assert survey(study, mine)["fetch"][0].state == FINISHED
    # Where only a later stage was restored, that one records the source too.
    fetched = Cell("fetch", dataset="own").folder(study, mine)
    elsewhere = Cell("shadow", dataset="own").folder(study, mine)
    elsewhere.parent.mkdir(parents=True)
    fetched.rename(elsewhere)
    assert digests(now(mine)) == before


def test_pictures_that_are_unplugged_without_their_table_make_nothing_stale(
    mine: Path, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--study", mine / "study.yaml", "--root", mine)
    assert verb("fetch", "own", *options) == 0
    before = digests(now(mine))
    for path in (mine / "data/mine").glob("*.png"):
        path.unlink()
    assert digests(now(mine)) == before
    assert verb("fetch", "own", *options) == 5
    assert "all other pictures; is their disk there?" in capsys.readouterr().err


def test_what_other_parameters_made_says_nothing_about_an_absent_source(
    mine: Path, verb: Verb
) -> None:
    assert verb("fetch", "own", "--study", mine / "study.yaml", "--root", mine) == 0
    raw = yaml.safe_load((mine / "study.yaml").read_text())
    raw["datasets"][0]["parameters"] = {"file": "other/list.csv"}
    assert identity.identified(parse(raw), mine).datasets[0].source == {}


def test_a_source_that_changes_while_a_study_runs_is_refused(
    mine: Path, verb: Verb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Jobs take the source for what it was when Snakemake was started, and so have its digests."""
    monkeypatch.setenv(identity.VARIABLE, "{}")
    head = now(mine)
    identity.tell_jobs(head)
    relabel(mine)
    assert digests(now(mine)) == digests(head)
    assert verb("fetch", "own", "--study", mine / "study.yaml", "--root", mine) == 4
    said = capsys.readouterr().err
    assert "datasets.own: the source lists other labels than when the study was started" in said


def test_a_source_that_cannot_be_read_is_a_sentence_and_hides_nothing(
    mine: Path, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--study", mine / "study.yaml", "--root", mine)
    assert verb("fetch", "own", *options) == 0
    write_table(mine, [("0.png", "", "p0", "train"), *ROWS[1:]])
    assert verb("verify", *options) == 4
    assert "cannot be read: list.csv, line 2: the label is empty" in capsys.readouterr().out
    assert verb("fetch", "own", *options) == 3
    assert "list.csv, line 2: the label is empty" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["federate", "observe", "prior"])
def test_a_verb_names_the_picture_that_is_gone_and_recommends_what_helps(
    stage: str, mine: Path, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--study", mine / "study.yaml", "--root", mine)
    study = now(mine)
    for needed in ("fetch", "federate"):
        for cell in cells(study)[needed][:1]:
            assert verb(needed, cell.key, *options) == 0
    (mine / "data/mine/7.png").rename(mine / "away.png")
    capsys.readouterr()
    assert verb(stage, cells(study)[stage][0].key, *options) == 4
    said = capsys.readouterr().err
    assert "the source of own cannot be read: " in said
    assert "mine/7.png" in said
    assert "gradsiege mend" not in said
    assert verb("verify", *options) == 4
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Not sound. First put this right: the source of own cannot be read: ")
    (mine / "Snakefile").write_text("")
    assert verb("mend", *options) == 4
    said = capsys.readouterr().err
    assert "mine/7.png" in said
    assert "gradsiege mend" not in said
    (mine / "away.png").rename(mine / "data/mine/7.png")
    assert verb("federate", cells(study)["federate"][0].key, *options) == 0


@pytest.mark.parametrize("length", [0, 60])
def test_a_picture_that_cannot_be_decoded_comes_before_the_remedy(
    length: int, mine: Path, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reading its source does not show it, the last job of Snakemake does; the finished cell stays meanwhile."""
    options = ("--study", mine / "study.yaml", "--root", mine)
    assert verb("fetch", "own", *options) == 0
    spoiled = mine / "data/mine/7.png"
    content = spoiled.read_bytes()
    spoiled.write_bytes(content[:length])
    verb("fetch", "own", "--staged", *options)
    capsys.readouterr()
    (mine / "Snakefile").write_text("")
    why = "fetch own: datasets.own: mine/7.png is not an image that can be read"
    assert verb("verify", *options) == 4
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"Not sound. First put this right: {why}")
    assert verb("plan", *options) == 0
    assert f"First put this right: {why}" in capsys.readouterr().out
    assert verb("mend", "--dry-run", *options) == 0
    assert f"failed before: {why}" in capsys.readouterr().out
    spoiled.write_bytes(content)
    assert verb("verify", *options) == 4
    assert "First put this right" not in capsys.readouterr().out


def test_a_folder_in_the_place_of_a_table_is_no_disk_that_is_away(
    mine: Path, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--study", mine / "study.yaml", "--root", mine)
    assert verb("fetch", "own", *options) == 0
    (mine / "data/mine/list.csv").rename(mine / "away.csv")
    (mine / "data/mine/list.csv").mkdir()
    capsys.readouterr()
    said = "mine/list.csv is a folder, and a file belongs there; name another one, or move it away"
    assert verb("verify", *options) == 4
    assert f"the source of own cannot be read: {said}. Then " in capsys.readouterr().out
    assert verb("fetch", "own", *options) == 4
    assert said in capsys.readouterr().err
    assert verb("plan", *options) == 0
    assert f"First put this right: the source of own cannot be read: {said}." in (
        capsys.readouterr().out
    )
    assert verb("crate", *options) == 4
    assert f"First put this right: the source of own cannot be read: {said}. Then `" in (
        capsys.readouterr().err
    )


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cats").write_text("")
    assert supply.misplaced(tmp_path, (supply.File("cats/"), supply.File("none.csv"))) == (
        "cats/ is a file, and a folder belongs there; name another one, or move it away"
    )
    assert not supply.misplaced(tmp_path, (supply.File("cats"),))


def test_another_source_is_named_by_the_verb_that_reads_it(
    mine: Path, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--study", mine / "study.yaml", "--root", mine)
    assert verb("fetch", "own", *options) == 0
    relabel(mine)
    assert verb("federate", cells(now(mine))["federate"][0].key, *options) == 4
    said = capsys.readouterr().err
    assert "fetch/own is not of the study any more: the source of own lists other labels. `" in said


def test_contents_are_hashed_again_only_if_a_file_changed_and_always_by_verify(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "SETTLED_NS", -1)
    study, hashed = load(mine / "study.yaml"), []
    real = artifacts.file_digest

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return real(path)

    monkeypatch.setattr(artifacts, "file_digest", counted)

    def hashes(**options: bool) -> int:
        hashed.clear()
        identity.identified(study, mine, **options)
        return len(hashed)

    assert [hashes(), hashes(), hashes(hash_all=True), hashes()] == [60, 0, 60, 0]
    replace(mine)
    assert hashes() == 1
    assert hashed == ["0.png"]
    # A cache that is damaged, or cannot be written, costs time alone.
    (cache,) = (mine / "scratch/sources").iterdir()
    cache.write_text(cache.read_text().replace("0.png", "1.png", 1))
    assert hashes() == 60
    monkeypatch.setattr(artifacts, "write_json", lambda path, value: (_ for _ in ()).throw(OSError))
    assert hashes(hash_all=True) == 60


def test_a_file_that_has_just_changed_is_not_remembered(mine: Path) -> None:
    """It may change again within one tick of the file system's clock."""
    now(mine)
    held = [json.loads(path.read_text())["files"] for path in (mine / "scratch").rglob("*.json")]
    assert held in ([], [{}])


@pytest.mark.parametrize("name", [*obtained("downloaded"), *obtained("supplied")])
def test_only_sets_without_published_checksums_depend_on_what_is_listed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_raw: Raw
) -> None:
    monkeypatch.delenv(identity.VARIABLE, raising=False)
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path / "none"))
    parameters = {"image_folder": {"path": "mine"}, "image_manifest": {"file": "study/list.csv"}}
    tiny_raw["datasets"] = [
        {
            "name": name,
            "id": "own",
            "size": 32,
            "counts": COUNTS,
            "parameters": parameters.get(name, {}),
        }
    ]
    plain = parse(tiny_raw)
    absent = identity.identified(plain, tmp_path)
    assert absent == plain, "an absent source leaves the digests as they are"
    assert "source" not in absent.datasets[0].model_dump()
    tiny_raw["datasets"][0]["parameters"] = publish(name, tmp_path, monkeypatch)
    plain = parse(tiny_raw)
    found = identity.identified(plain, tmp_path)
    open_ones = set(obtained("supplied"))
    assert (found != plain) == (name in open_ones)
    if name in open_ones:
        assert identity.UNREADABLE not in found.datasets[0].source
        assert identity.identified(found, tmp_path) == found
        assert found.datasets[0].source != {}


def test_no_study_file_says_what_a_source_lists(tiny_raw: Raw) -> None:
    tiny_raw["datasets"][0]["source"] = {"labels": "a"}
    with pytest.raises(StudyError, match=r"unknown key 'datasets\.digits\.source'"):
        parse(tiny_raw)


def test_an_empty_folder_is_an_absent_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of a disk that is not mounted."""
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert supply.missing("image_folder", {"path": "mine"}) == ["mine/ (the folder is empty)"]
