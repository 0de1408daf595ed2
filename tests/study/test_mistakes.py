"""Mistakes in study files are named, with the place and the nearest right word."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from raw_studies import Raw

from gradsiege.errors import StudyError
from gradsiege.ranges import shown
from gradsiege.study import Study, load, parse


def change(path: str, value: Any) -> Callable[[Raw], None]:
    """A function that sets one place of a study, such as ``datasets.0.size``."""

    def apply(raw: Raw) -> None:
        *way, last = path.split(".")
        here: Any = raw
        for part in way:
            here = here[int(part)] if isinstance(here, list) else here[part]
        here[int(last) if isinstance(here, list) else last] = value

    return apply


WRONG = {
    # A key that does not exist, at every level: named, with the nearest one that does.
    "top key": (change("victms", 3), "unknown key 'victms'; did you mean 'victims'?"),
    "dataset key": (
        change("datasets.0.sze", 32),
        "unknown key 'datasets.digits.sze'; did you mean 'size'?",
    ),
    "role": (
        change("datasets.0.counts.trian", 1),
        "unknown key 'datasets.digits.counts.trian'; did you mean 'train'?",
    ),
    "model key": (change("models.0.parameter", {}), "did you mean 'parameters'?"),
    "model parameter": (
        change("models.0.parameters.chanels", 4),
        "models.lenet: lenet has no parameter 'chanels'; did you mean 'channels'?",
    ),
    "defense key": (
        change("defenses.1.sweeps", {}),
        "unknown key 'defenses.gaussian.sweeps'; did you mean 'sweep'?",
    ),
    "defense parameter": (
        change("defenses.1.parameters", {"sgima": 1}),
        "defenses.gaussian: gaussian has no parameter 'sgima'; did you mean 'sigma'?",
    ),
    "swept parameter": (
        change("defenses.1", {"name": "gaussian", "sweep": {"sgima": [1]}}),
        "gaussian has no parameter 'sgima'; did you mean 'sigma'?",
    ),
    "attack key": (
        change("attacks.0.iteration", 3),
        "unknown key 'attacks.inverting_gradients.iteration'; did you mean 'iterations'?",
    ),
    "attack parameter": (
        change("attacks.0.parameters", {"total_varation": 1}),
        "has no parameter 'total_varation'; did you mean 'total_variation'?",
    ),
    "federation key": (
        change("federation.round", 3),
        "unknown key 'federation.round'; did you mean 'rounds'?",
    ),
    "protocol key": (
        change("protocols.0", {"name": "fedsgd", "epoch": 1}),
        "unknown key 'protocols.fedsgd.epoch'; did you mean 'epochs'?",
    ),
    "threat key": (
        change("threat_models.0.label", "given"),
        "unknown key 'threat_models.labels_inferred.label'; did you mean 'labels'?",
    ),
    "prior parameter": (
        change("priors.0.parameters.epoch", 3),
        "priors.autoencoder: autoencoder has no parameter 'epoch'; did you mean 'epochs'?",
    ),
    "a key that is not a text": (
        change("federation", {1: 2}),
        "federation: the key 1 is not text; put it in quotes",
    ),
    # A name that does not exist.
    "dataset name": (change("datasets.0.name", "digit"), "did you mean 'digits'?"),
    "defense name": (
        change("defenses.0", "gausian"),
        "defenses.gausian: unknown name 'gausian' in defenses; did you mean 'gaussian'?",
    ),
    "attack name": (change("attacks.0.name", "gi_pp"), "did you mean 'gi_pip'?"),
    "figure": (change("figures", ["galery"]), "did you mean 'gallery'?"),
    "protocol name": (change("protocols.0", "fedsdg"), "must be 'fedsgd' or 'fedavg'"),
    "training stage": (
        change("training_stages", ["lat"]),
        "training_stages.0 must be 'untrained', 'early' or 'late', not 'lat'",
    ),
    "arm": (
        change("attacks.0.arm", "as_released"),
        "inverting_gradients has no arm 'as_released', only faithful",
    ),
    "prior of an attack": (
        change("attacks.1.prior", "autoencodr"),
        "attacks.gi_pip: unknown prior 'autoencodr'; did you mean 'autoencoder'?",
    ),
    "one of several priors": (
        change("attacks.1.prior", ["autoencoder", "autoencodr"]),
        "attacks.gi_pip: unknown prior 'autoencodr'; did you mean 'autoencoder'?",
    ),
    "data set of a prior": (
        change("priors.0.dataset", "digit"),
        "no id 'digit' in datasets; did you mean 'digits'?",
    ),
    "counter": (
        change("attacks.0.counter", "gaussian.likelyhood"),
        "attacks.inverting_gradients-gaussian.likelyhood: unknown name 'gaussian.likelyhood' in counters; "
        "did you mean 'gaussian.likelihood'?",
    ),
    "counter without its defense": (
        change("attacks.0.counter", "tip.whitened"),
        "attacks.inverting_gradients-tip.whitened: tip.whitened answers the defense 'tip', which the study does not have "
        "(none, gaussian); add it to defenses, or leave the counter out",
    ),
    "counter without a disclosure": (
        change("attacks.0.counter", "gaussian.likelihood"),
        "attacks.inverting_gradients-gaussian.likelihood: gaussian.likelihood needs a threat model with 'disclosure: true'; "
        "add one to threat_models, or leave the attack out",
    ),
    "counter that is not a text": (
        change("attacks.0.counter", [1]),
        "counter must be ",
    ),
    # A value of the wrong type or out of range.
    "not a number": (
        change("victims", "many"),
        "victims must be a whole number from 1 to 1,000,000,000, not 'many'",
    ),
    "a fraction": (
        change("victims", 2.5),
        "victims must be a whole number from 1 to 1,000,000,000, not 2.5",
    ),
    "zero": (
        change("attacks.0.iterations", 0),
        "attacks.inverting_gradients.iterations must be a whole number from 1 to 1,000,000,000, not 0",
    ),
    "negative seed": (
        change("seeds", [-1]),
        "seeds.0 must be a whole number from 0 to 9,223,372,036,854,775,807, not -1",
    ),
    "too small": (
        change("datasets.0.size", 8),
        "datasets.digits.size must be a whole number from 16 to 512, not 8",
    ),
    "not a list": (change("defenses", "none"), "defenses must be a list"),
    "nothing": (change("defenses", None), "defenses must be a list"),
    "empty item": (change("defenses.0", None), "name must be text"),
    "parameter type": (
        change("defenses.1.parameters.sigma", "much"),
        "defenses.gaussian: parameter 'sigma' of gaussian must be a number from 0 to 1,000,000, not 'much'",
    ),
    "parameters as a list": (
        change("defenses.1.parameters", [1]),
        "defenses.gaussian.parameters must be a mapping of keys",
    ),
    "not a finite number": (
        change("defenses.1.parameters.sigma", float("nan")),
        "parameter 'sigma' of gaussian must be a number from 0 to 1,000,000, not nan",
    ),
    "infinite": (
        change("federation.learning_rate", float("inf")),
        "federation.learning_rate must be a number from 1e-12 to 1,000,000, not inf",
    ),
    "sweep of one number": (
        change("defenses.1.sweep", {"sigma": 0.1}),
        "defenses.gaussian.sweep.sigma must be a list",
    ),
    "sweep as a list": (
        change("defenses.1.sweep", [1]),
        "defenses.gaussian.sweep must be a mapping of keys",
    ),
    "sweep over nothing": (
        change("defenses.1.sweep", {"sigma": []}),
        "defenses.gaussian.sweep.sigma must have at least one item",
    ),
    "path in an id": (
        change("study", "../x"),
        "study must be made of the letters a to z, digits, and _ . + -",
    ),
    "a word that YAML takes for a truth value": (
        change("defenses", [False]),
        "defenses.False.name must be text, not False; YAML takes on, off, yes, no, true and false for truth values, so put "
        "the word in quotes",
    ),
    **{
        f"an id that YAML does not read as text: {value!r}": (
            change("defenses.0", {"name": "gaussian", "id": value}),
            f"defenses.gaussian.id must be text, not {shown(value)}",
        )
        for value in (False, None, 0, 0.0, "", [], {}, 12, date(2026, 1, 1))
    },
    **{
        f"a key that YAML does not read as text: {value!r}": (
            change("counts", {"a": [{value: 0}]}),
            f"counts.a.0: the key {shown(value)}",
        )
        for value in (True, 1, date(2026, 1, 1))
    },
    "a word of `only` that YAML takes for a truth value": (
        change("attacks.0.only", {False: "x"}),
        "only: the key False (YAML reads off, no and false so) is not text; put it in quotes",
    ),
    "a date for text": (change("description", date(2026, 1, 1)), "put it in quotes"),
    "a number for text": (change("study", 12), "study must be text, not 12; put it in quotes"),
    "a space in a name": (
        change("study", "my study"),
        "begin with a letter or a digit, not 'my study'",
    ),
    "labels": (
        change("threat_models.0.labels", "guessed"),
        "threat_models.labels_inferred.labels must be 'given', 'inferred' or 'wrong', not 'guessed'",
    ),
    "mode": (
        change("protocols.0", {"name": "fedsgd", "mode": "test"}),
        "protocols.fedsgd.mode must be 'eval' or 'train', not 'test'",
    ),
    "label rule": (change("attacks.0.label_rule", "rows"), "or 'projection', not 'rows'"),
    "no study name": (change("study", None), "study must be text"),
    # Sections that contradict each other.
    "too few victims": (
        change("victims", 5),
        "datasets.digits: 5 victims of up to 1 images need 5 images in counts.victims, not 4",
    ),
    "missing prior": (change("priors", []), "attacks.gi_pip: unknown prior 'autoencoder'"),
    "no prior named": (
        change("attacks.1.prior", None),
        "attacks.gi_pip: gi_pip needs 'prior:' to be the id of a prior of the kind autoencoder",
    ),
    "missing role": (
        lambda raw: raw["datasets"][0]["counts"].pop("aux"),
        "datasets.digits: counts lack the roles aux",
    ),
    "more clients than exist": (
        change("federation.clients_per_round", 9),
        "federation: clients_per_round is larger than clients",
    ),
    "early after late": (
        change("federation.early_round", 3),
        "federation: early_round must be smaller than rounds",
    ),
    "fedsgd in steps": (
        change("protocols.0", {"name": "fedsgd", "images": 2}),
        "protocols.fedsgd: fedsgd is one step on all images: set batch_size = images and epochs = 1; "
        "images is 2, batch_size 1 (the default), epochs 1 (the default)",
    ),
    "no defense": (change("defenses", []), "defenses must have at least one item"),
    "no seed": (change("seeds", []), "seeds must have at least one item, not []"),
    "no protocol": (change("protocols", []), "protocols must have at least one item"),
    # An id that stands twice would make two cells of one folder.
    "defense twice": (change("defenses", ["none", "none"]), "defenses: 'none' stands twice"),
    "protocol twice": (
        change("protocols", ["fedsgd", "fedsgd"]),
        "protocols: 'fedsgd' stands twice",
    ),
    "threat model twice": (
        change("threat_models", [{"id": "a"}, {"id": "a"}]),
        "threat_models: 'a' stands twice",
    ),
    "seed twice": (change("seeds", [0, 0]), "seeds: 0 stands twice"),
    "figure twice": (change("figures", ["gallery", "gallery"]), "figures: 'gallery' stands twice"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, tiny_raw: Raw) -> None:
    spoil, message = WRONG[case]
    spoil(tiny_raw)
    with pytest.raises(StudyError) as caught:
        parse(tiny_raw, "my.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("my.yaml: ")
    assert caught.value.exit_code == 3


def test_several_mistakes_are_told_at_once(tiny_raw: Raw) -> None:
    tiny_raw["victms"] = 1
    tiny_raw["federation"]["round"] = 1
    with pytest.raises(
        StudyError, match=r"'victms'.*; unknown key 'federation\.round'|'federation"
    ):
        parse(tiny_raw)


@pytest.mark.parametrize("value", [5, "text", [1, 2]])
def test_a_file_that_is_no_mapping(value: Any) -> None:
    with pytest.raises(StudyError, match="a study file is a mapping of keys"):
        parse(value)


@pytest.mark.parametrize("text", ["study: [", "a: b: c", "\x00", "&a *b"])
def test_a_file_that_is_no_yaml(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(StudyError, match=r"x\.yaml"):
        load(tmp_path / "x.yaml")


def test_a_file_that_is_no_text_or_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\xba")
    with pytest.raises(StudyError, match="not valid YAML"):
        load(tmp_path / "x.yaml")
    with pytest.raises(StudyError, match="does not exist"):
        load(tmp_path / "y.yaml")
    with pytest.raises(StudyError, match="is a folder; name a file"):
        load(tmp_path)
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    with pytest.raises(StudyError, match=r"empty\.yaml is empty; config/README\.md says"):
        load(tmp_path / "empty.yaml")


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("study: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(StudyError, match="not valid YAML"):
        load(tmp_path / "x.yaml")


def test_an_unknown_id_suggests_the_nearest(tiny: Study) -> None:
    with pytest.raises(StudyError, match="no id 'gausian' in defenses; did you mean 'gaussian'"):
        tiny.one("defenses", "gausian")
