"""What a cache holds is believed only if its hashes lead back to `dvc.lock`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath

import pytest
import yaml

from gradsiege.errors import ArtifactError, SharingError
from gradsiege.sharing.bundles import Bundle, Output
from gradsiege.sharing.contents import Content, check, knows, recorded, refuse

BUNDLE = Bundle("tables", "mine", (Output("results/mine/tables"),))


def put(cache: Path, content: bytes, ending: str = "") -> str:
    """Keep an object under the hash of its content; return its name."""
    name = hashlib.md5(content).hexdigest() + ending
    path = cache / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name


def folder(cache: Path, **files: bytes) -> Content:
    """Keep a folder of files."""
    listing = [{"md5": put(cache, content), "relpath": name} for name, content in files.items()]
    name = put(cache, json.dumps(listing).encode(), ".dir")
    return Content(PurePosixPath("results/mine/tables"), name)


def test_what_agrees_is_sound_and_counted(tmp_path: Path) -> None:
    assert check([folder(tmp_path, a=b"1", b=b"2")], tmp_path) == (2, [])


@pytest.mark.parametrize("damage", [b"x", None])
def test_another_object_is_named_and_leaves_the_cache(tmp_path: Path, damage: bytes | None) -> None:
    content = folder(tmp_path, a=b"1", b=b"2")
    name = hashlib.md5(b"2").hexdigest()
    place = tmp_path / name[:2] / name[2:]
    if damage is None:
        place.unlink()
    else:
        place.write_bytes(damage)
    count, wrong = check([content], tmp_path)
    assert (count, [str(differing.path) for differing in wrong]) == (2, ["results/mine/tables/b"])
    with pytest.raises(ArtifactError, match=rf"mine/tables/b \(files/md5/{name[:2]}/{name[2:]}\)"):
        refuse(wrong, tmp_path, "from store", "Do this.")
    assert not place.exists()
    refuse([], tmp_path, "from store", "Do this.")


def test_a_forged_listing_is_refused_and_not_followed(tmp_path: Path) -> None:
    content = folder(tmp_path, a=b"1")
    listing = tmp_path / content.object
    forged = [{"md5": "0" * 32, "relpath": "evil"}]
    listing.write_text(json.dumps(forged))
    assert check([content], tmp_path) == (0, [content])


@pytest.mark.parametrize(
    "entry", [{"md5": "0" * 32, "relpath": "../../x"}, {"md5": "../../../x", "relpath": "x"}]
)
def test_a_recorded_listing_that_leads_outside_is_refused(
    tmp_path: Path, entry: dict[str, str]
) -> None:
    name = put(tmp_path, json.dumps([entry]).encode(), ".dir")
    with pytest.raises(ArtifactError, match="listing of results/mine/tables is damaged"):
        check([Content(PurePosixPath("results/mine/tables"), name)], tmp_path)


def test_a_bundle_that_nobody_shared(tmp_path: Path) -> None:
    with pytest.raises(
        SharingError,
        match=r"dvc\.lock knows no shared tables of the study mine \(it is not there\)\. Ask .* `gradsiege share tables`",
    ):
        recorded(tmp_path, BUNDLE)
    outs = [{"path": "results/mine/tables", "md5": "0" * 32 + ".dir"}]
    lock = tmp_path / "dvc.lock"
    lock.write_text(yaml.safe_dump({"stages": {"tables@mine": {"outs": outs}}}))
    assert [str(content.path) for content in recorded(tmp_path, BUNDLE)] == ["results/mine/tables"]
    lock.write_text(lock.read_text().replace("0" * 32, "../../x"))
    with pytest.raises(SharingError, match="is damaged: results/mine/tables has the hash"):
        recorded(tmp_path, BUNDLE)
    lock.write_text("stages: [")
    with pytest.raises(
        SharingError, match=r"is damaged: while parsing .*`git checkout dvc.lock` brings"
    ):
        recorded(tmp_path, BUNDLE)


OTHER = """schema: '2.0'
stages:
  images@mine:
    outs:
    - path: results/mine/fetch
      md5: 26ab0db90d72e28ad0ba1e22ee510510.dir
      nfiles: 8
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it holds other data"),
        ("stages: 3\n", "it holds other data"),
        ("schema: '2.0'\n", "it lacks 'stages'"),
        ("\xff", "can't decode"),
        (None, "Is a directory"),
        (OTHER.replace("nfiles: 8", "nfiles: x"), "images@mine has the nfiles 'x'"),
        (OTHER.replace("26ab0db90d72e28ad0ba1e22ee510510.dir", "12"), "has the md5 12"),
        (OTHER[:-1], "it ends within an entry"),
        (OTHER[: OTHER.index("      md5")], "it ends within an entry"),
        (OTHER[: OTHER.index("    outs")] + "    cmd: x\n", "it ends within an entry"),
    ],
)
def test_a_damaged_lock_is_said_to_be_damaged(
    tmp_path: Path, text: str | None, reason: str
) -> None:
    """And is not said to know nothing: asking somebody to share again would not help."""
    lock = tmp_path / "dvc.lock"
    if text is None:
        lock.mkdir()
    else:
        lock.write_text(text, encoding="latin-1")
    with pytest.raises(SharingError, match=f"^dvc.lock is damaged: .*{reason}.*`git checkout"):
        recorded(tmp_path, BUNDLE)


def test_a_whole_lock_that_lacks_a_bundle_is_not_damaged(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text(OTHER)
    with pytest.raises(SharingError, match=r"knows no .* \(it lacks results/mine/tables\)"):
        recorded(tmp_path, BUNDLE)
    assert not knows(tmp_path, BUNDLE)
