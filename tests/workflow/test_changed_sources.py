"""A source that changes reruns exactly what reads it; one that is unplugged reruns nothing."""

from __future__ import annotations

import pytest
from published import picture, table

pytestmark = pytest.mark.pipeline
ROWS = [(f"{number}.png", ("ant", "bee")[number % 2]) for number in range(60)]
COUNTS = "{train: 16, test: 8, aux: 8, public: 4, tune: 4, victims: 3}"
OWN = f"{{name: image_manifest, id: own, size: 16, counts: {COUNTS}, parameters: {{file: mine/list.csv}}}}"


def test_a_corrected_label_reruns_what_reads_it_and_an_unplugged_disk_nothing(clone, tmp_path):
    workspace = clone.copy(tmp_path / "gradsiege")
    mine = workspace.folder / "supplied/mine"
    workspace.environment = {"GRADSIEGE_DATA": str(mine.parent)}
    workspace.rewrite("config/tiny.yaml", "datasets:\n", f"datasets:\n  - {OWN}\n")
    workspace.rewrite("config/tiny.yaml", "figures: [utility_curve, table_attacks]", "figures: []")
    for number in range(60):
        picture(mine / f"{number}.png", number, (16, 16))
    table(mine / "list.csv", ("path", "label"), *ROWS)
    workspace.snakemake("images", "priors")
    assert workspace.planned("images", "priors") == {}
    mine.rename(tmp_path / "unplugged")
    assert workspace.planned("images", "priors") == {}
    (tmp_path / "unplugged").rename(mine)
    table(mine / "list.csv", ("path", "label"), ("0.png", "bee"), *ROWS[1:])
    only_own = dict.fromkeys(("fetch", "fetch_cell", "prior", "prior_cell"), 1)
    assert workspace.planned("images", "priors") == only_own | {"images": 1, "priors": 1}
    digits = workspace.checksums("fetch/digits")
    said = workspace.run("gradsiege", "verify", "--study", "config/tiny.yaml", check=False)
    assert "prior own/autoencoder/seed0: the source of own lists other labels" in said
    assert "digits/autoencoder" not in said
    workspace.snakemake("images", "priors")
    assert workspace.planned("images", "priors") == {}
    assert workspace.checksums("fetch/digits") == digits
