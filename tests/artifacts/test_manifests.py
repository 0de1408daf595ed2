"""Manifests: a damaged one is refused by name, none names a path outside, and each comes last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradsiege import artifacts
from gradsiege.artifacts import (
    MANIFEST,
    check,
    read_manifest,
    verify_folder,
    write_json,
    write_manifest,
)
from gradsiege.errors import ArtifactError


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"files": []}', '{"files": {"x": 1}}', '{"files": {"x": {}}}'],
)
def test_a_damaged_manifest_is_refused_by_name(sealed: Path, text: str) -> None:
    (sealed / MANIFEST).write_text(text)
    for reader in (read_manifest, verify_folder):
        with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
            reader(sealed)
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        check(sealed / "c.json")


def test_no_bit_of_a_manifest_can_change_without_being_noticed(sealed: Path) -> None:
    path = sealed / MANIFEST
    content, known = path.read_bytes(), read_manifest(sealed)
    noticed = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << 5 * place % 8
        path.write_bytes(damaged)
        try:
            assert read_manifest(sealed) == known
        except ArtifactError:
            noticed += 1
    # What is not noticed means the same: another letter for the white space at the end.
    assert noticed >= len(content) - 1


def test_manifests_of_earlier_versions_have_no_checksum_and_are_read(sealed: Path) -> None:
    known = read_manifest(sealed)
    assert artifacts.CHECKSUM not in known
    (sealed / MANIFEST).write_text(json.dumps(known))
    assert read_manifest(sealed) == known
    assert verify_folder(sealed) == []


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "sub/../../outside.json", ".."])
def test_a_manifest_that_names_a_path_outside(sealed: Path, name: str) -> None:
    outside = sealed.parent / "outside.json"
    outside.write_text("{}")
    manifest = read_manifest(sealed)
    size, digest = outside.stat().st_size, artifacts.file_digest(outside)
    manifest["files"] = {name: {"bytes": size, "sha256": digest}}
    (sealed / MANIFEST).write_text(json.dumps(manifest))
    (problem,) = verify_folder(sealed)
    assert "outside" in problem
    assert repr(name) in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "it is not JSON: Expecting"),
        ("{}", "it lacks 'files'"),
        ("[]", "it holds other data"),
        ('{"files": {"a": {}}}', "a file without size or checksum"),
    ],
)
def test_a_damaged_manifest_is_described_in_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ArtifactError) as caught:
        read_manifest(tmp_path)
    assert f"is damaged ({words}" in str(caught.value)
    assert "Error(" not in str(caught.value)


def test_a_manifest_comes_last_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ArtifactError, match=r"b\.json was removed meanwhile"):
        write_manifest(tmp_path, {}, ["a.json", "b.json"])
    assert not (tmp_path / MANIFEST).exists()
