"""Several rounds of one client: what the server sees of them, what is granted, and how they are matched together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradsiege import artifacts, defenses
from gradsiege.attacks import several_rounds
from gradsiege.attacks.counters import dp_sgd, gaussian, laplace, shadow
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.engine.autotune import EnginePolicy
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipes import build
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.defenses.base import Client
from gradsiege.errors import StudyError, ThreatModelError
from gradsiege.federated.later_rounds import later_rounds, progress_of
from gradsiege.models import build as build_model
from gradsiege.pipeline.cells import attack_cells, cells, digest, settings
from gradsiege.protocol.local_update import local_update
from gradsiege.protocol.observation import Observation, load_observation, save_observation
from gradsiege.protocol.threat_model import ThreatModel, strip
from gradsiege.study import Study, parse

Scenes = Callable[..., Any]
SETTINGS = {"learning_rate": 0.2, "total_variation": 0.01}
GRANTED = ThreatModel(id="several", disclosure=True, rounds=4)


def followed(scene: Any, name: str, parameters: dict[str, Any], count: int) -> Observation:
    """The scene's observation with `count` further rounds of the same clients."""
    seen = scene.seen
    defense = defenses.build(name, parameters)
    network = build_model(seen.model)
    generator = torch.Generator().manual_seed(7)
    clients = [
        Client(network, seen.parameters, seen.buffers, x, y, seen.training, generator, 2, rounds=10)
        for x, y in zip(scene.truth, scene.labels, strict=True)
    ]
    updates = [{k: v[i] for k, v in seen.update.items()} for i in range(len(clients))]
    sent = updates, [seen.buffers] * len(clients)
    later = later_rounds(clients, defense, sent, count, ("test",))
    return replace(seen, later=later, progress=progress_of(clients[0], count))


def plans(seen: Observation, iterations: int = 5, **settings: float) -> list[AttackPlan]:
    found = []
    for one in several_rounds.seen_by(seen, "joint"):
        knowledge = Knowledge(one, GRANTED)
        recipe = build("inverting_gradients", SETTINGS | settings, "faithful", 1, knowledge)
        recipe = recipe.with_phases(iterations=iterations)
        found.append(AttackPlan(knowledge, recipe).with_labels())
    return found


def run(rounds: list[AttackPlan]) -> Any:
    first, *later = rounds
    return reconstruct(
        first.knowledge,
        first.recipe,
        1,
        ("s",),
        policy=EnginePolicy("factored"),
        later=[(one.knowledge, one.recipe) for one in later],
    )


def test_a_later_round_is_the_gradient_at_the_servers_next_model(defended: Scenes) -> None:
    scene = defended("none", victims=3).double()
    seen = followed(scene, "none", {}, 2)
    assert seen.progress == (0.2, 0.3, 0.4)
    before, update = seen.parameters, seen.update
    for one in seen.later:
        for name, value in one.parameters.items():
            step = seen.training.learning_rate * update[name].mean(0)
            torch.testing.assert_close(value, before[name] - step, rtol=1e-12, atol=1e-14)
        model = build_model(seen.model)
        for victim, (x, y) in enumerate(zip(scene.truth, scene.labels, strict=True)):
            own, _ = local_update(model, one.parameters, one.buffers, x, y, seen.training)
            for name, value in own.items():
                assert torch.equal(one.update[name][victim], value)
        before, update = one.parameters, one.update
    for name, value in seen.update.items():
        assert not torch.equal(seen.later[0].update[name], value)


def test_averaging_shrinks_fresh_noise_by_the_root_of_the_rounds(defended: Scenes) -> None:
    sigma = 0.5
    scene = defended("gaussian", {"sigma": sigma}, victims=2)
    seen = followed(scene, "gaussian", {"sigma": sigma}, 8)
    # The same victims without noise at the same models: what is left is noise alone.
    (mean,) = several_rounds.seen_by(seen, "average")
    assert not mean.later
    names = [name for name in seen.update if name.startswith("head") or name.endswith("weight")]

    def noise(update: Any) -> float:
        parts = [(update[name] - scene.clean[name]).flatten() for name in names]
        return float(torch.cat(parts).std())

    assert noise(seen.update) == pytest.approx(sigma, rel=0.02)
    assert noise(mean.update) == pytest.approx(sigma / 3, rel=0.05)


def test_likelihoods_know_what_averaging_leaves_of_the_noise(defended: Scenes) -> None:
    for name, idea, key in (
        ("gaussian", gaussian.likelihood, "sigma"),
        ("laplace", laplace.likelihood, "scale"),
    ):
        scene = defended(name, {key: 0.3})
        (start,) = plans(scene.seen)
        stage = idea(replace(start, averaged=4)).recipe.phases[0]
        wide = math.sqrt(2) if key == "scale" else 1.0
        assert stage.distance.deviation == pytest.approx(0.3 * wide / 2)
    scene = defended("dp_sgd", {})
    (start,) = plans(scene.seen)
    one, four = (dp_sgd.deviation(replace(start, averaged=n)) for n in (1, 4))
    assert four == pytest.approx(one / 2)


def test_files_hold_the_later_rounds_and_a_single_round_leaves_no_trace(
    defended: Scenes, tmp_path: Path
) -> None:
    scene = defended("none")
    seen = followed(scene, "none", {}, 2)
    save_observation(tmp_path / "several.safetensors", seen)
    save_observation(tmp_path / "one.safetensors", scene.seen)
    artifacts.write_manifest(tmp_path, {}, ["several.safetensors"])
    found = load_observation(tmp_path / "several.safetensors")
    assert found.progress == seen.progress
    for own, saved in zip(seen.later, found.later, strict=True):
        for part in ("parameters", "buffers", "update"):
            for name, value in getattr(own, part).items():
                assert torch.equal(getattr(saved, part)[name], value)
    content = (tmp_path / "one.safetensors").read_bytes()
    assert b"round1" not in content
    assert b"progress" not in content


@pytest.mark.parametrize(("granted", "kept"), [(1, 0), (2, 1), (3, 2)])
def test_rounds_that_are_not_granted_are_stripped(
    granted: int, kept: int, defended: Scenes
) -> None:
    seen = followed(defended("none"), "none", {}, 2)
    threat = ThreatModel(id="t", rounds=granted)
    found = strip(seen, threat)
    assert len(found.later) == kept
    assert len(found.progress) == (kept + 1 if kept else 0)
    assert threat.grants("rounds") == (granted > 1)
    assert (f"{granted} rounds of the same images" in threat.describe()) == (granted > 1)


def test_the_joint_objective_is_the_mean_over_rounds(defended: Scenes) -> None:
    scene = defended("gaussian", {"sigma": 0.2})
    rounds = plans(followed(scene, "gaussian", {"sigma": 0.2}, 2), 0)
    single = torch.stack([run([one]).matching_loss for one in rounds])
    assert single.std(0).min() > 1e-4
    torch.testing.assert_close(run(rounds).matching_loss, single.mean(0))


def test_four_noisy_rounds_show_more_than_one(defended: Scenes) -> None:
    scene = defended("gaussian", {"sigma": 0.1})
    rounds = plans(followed(scene, "gaussian", {"sigma": 0.1}, 3), 60, total_variation=0.1)
    errors = [(run(chosen).images - scene.truth).square().mean() for chosen in (rounds[:1], rounds)]
    assert errors[1] < 0.9 * errors[0]


def test_most_rounds_decide_the_label(defended: Scenes) -> None:
    rounds = plans(followed(defended("none"), "none", {}, 2))
    for one, said in zip(range(3), (4, 8, 8), strict=True):
        seen = rounds[one].knowledge.observation
        told = replace(seen, labels=torch.full((2, 1), said))
        rounds[one] = replace(rounds[one], knowledge=Knowledge(told, GRANTED))
    assert several_rounds.agreed_labels(rounds).tolist() == [[8], [8]]


class TestShadow:
    """A pattern is frozen and grows by exp(t / R), as Shadow's does from the end of its learning phase."""

    PROGRESS = (0.2, 0.9)

    def planted(self, scene: Any) -> tuple[Any, torch.Tensor, list[torch.Tensor]]:
        seen = scene.seen
        rows = torch.linspace(0, 1, 16, dtype=scene.truth.dtype)
        # Smooth and everywhere: nothing that denoising one round could tell from the image.
        pattern = (0.3 * rows[:, None] * (1 - rows)).expand(1, 3, 16, 16)
        model = build_model(seen.model)
        noisy, updates = [], []
        for progress in self.PROGRESS:
            images = 0.5 * scene.truth + math.exp(progress) * pattern
            found = [
                local_update(model, seen.parameters, seen.buffers, x, y, seen.training)[0]
                for x, y in zip(images, scene.labels, strict=True)
            ]
            noisy.append(images)
            updates.append({k: torch.stack([one[k] for one in found]) for k in found[0]})
        stated = {"defense": "shadow", "amplitude": 0.19, "scrambled_map": False}
        seen = replace(seen, update=updates[0], disclosure=stated)
        rounds = [
            replace(seen, update=one, progress=(progress,))
            for one, progress in zip(updates, self.PROGRESS, strict=True)
        ]
        return rounds, pattern, noisy

    def plans(self, rounds: list[Observation], iterations: int) -> list[AttackPlan]:
        found = []
        for seen in rounds:
            knowledge = Knowledge(seen, GRANTED)
            recipe = build("inverting_gradients", SETTINGS, "faithful", iterations, knowledge)
            found.append(AttackPlan(knowledge, recipe).with_labels())
        return found

    def test_the_extrapolation_is_exact_in_the_noiseless_limit(self, defended: Scenes) -> None:
        scene = defended("none").double()
        rounds, pattern, noisy = self.planted(scene)
        informed = [shadow.two_round_extrapolation(one) for one in self.plans(rounds, 1)]
        spaces = [one.recipe.phases[0].space for one in informed]
        mean, deviation = 0.5, 0.25
        clean = 0.5 * scene.truth[0]
        x = {"x": (clean - mean) / deviation, shadow.NOISE: pattern[:, :1] / deviation}
        decoded = [space.decode(x, scene.labels[0])[1] for space in spaces]
        for own, wanted in zip(decoded, noisy, strict=True):
            torch.testing.assert_close(own, wanted[0], rtol=0, atol=1e-12)
        a, b = (math.exp(progress) for progress in self.PROGRESS)
        closed = (b * decoded[0] - a * decoded[1]) / (b - a)
        torch.testing.assert_close(closed, clean, rtol=0, atol=1e-12)
        # The truth, and by the closed form the truth alone, matches both rounds.
        for one, own in zip(informed, decoded, strict=True):
            seen = one.knowledge.observation
            model = build_model(seen.model).double()
            update, _ = local_update(
                model, seen.parameters, seen.buffers, own, scene.labels[0], seen.training
            )
            observed = {name: value[0] for name, value in one.update.items()}
            assert float(one.recipe.phases[0].distance(update, observed)) < 1e-12

    def test_two_rounds_take_out_what_denoising_one_cannot(self, defended: Scenes) -> None:
        rounds, _, _ = self.planted(scene := defended("none", shape={"width": 32}))
        first, *_ = starts = self.plans(rounds, 120)
        told = shadow.denoise(first)
        joint = [shadow.two_round_extrapolation(one) for one in starts]
        clean = 0.5 * scene.truth
        alone, both = ((run(chosen).images - clean).square().mean() for chosen in ([told], joint))
        assert both < 0.6 * alone

    def test_a_single_round_is_refused(self, defended: Scenes) -> None:
        rounds, _, _ = self.planted(defended("none"))
        (start,) = self.plans([replace(rounds[0], progress=())], 1)
        with pytest.raises(ThreatModelError, match="rounds: joint"):
            shadow.two_round_extrapolation(start)


def raw(**changes: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("train", "test", "aux", "public", "tune", "victims"), 20)
    study: dict[str, Any] = {
        "study": "rounds",
        "victims": 2,
        "datasets": [{"name": "digits", "size": 16, "counts": counts}],
        "models": ["lenet"],
        "defenses": ["none", "gaussian"],
        "protocols": [
            {"name": "fedsgd"},
            {"id": "again", "name": "fedsgd", "rounds": 3},
        ],
        "threat_models": [
            "one",
            {"id": "three", "rounds": 3},
            {"id": "informed", "disclosure": True, "rounds": 2},
        ],
        "attacks": [
            {"name": "idlg", "iterations": 2},
            {
                "name": "idlg",
                "iterations": 2,
                "rounds": "joint",
                "only": {"threat_model": ["three", "informed"]},
            },
            {
                "name": "idlg",
                "iterations": 2,
                "rounds": "average",
                "counter": "gaussian.likelihood",
            },
        ],
    }
    study["threat_models"][0] = {"id": "one"}
    return study | changes


def test_attacks_on_several_rounds_meet_what_grants_them() -> None:
    found = {(c.protocol, c.defense, c.threat_model, c.attack) for c in attack_cells(parse(raw()))}
    averaged = "idlg-gaussian.likelihood-average_rounds"
    assert found == {
        *(
            (protocol, defense, "one", "idlg")
            for protocol in ("fedsgd", "again")
            for defense in ("none", "gaussian")
        ),
        *(
            ("again", defense, threat, "idlg-joint_rounds")
            for defense in ("none", "gaussian")
            for threat in ("three", "informed")
        ),
        ("again", "gaussian", "informed", averaged),
    }


def test_a_single_round_has_the_digest_it_always_had() -> None:
    """Planted: what the settings of a cell were before there were several rounds."""
    study = parse(raw())
    (cell,) = (c for c in cells(study)["attack"] if c.protocol == "fedsgd" and c.defense == "none")
    own = settings(cell, study)
    for section in ("protocol", "threat_model", "attack"):
        assert "rounds" not in own[section]
    several = cell.at("attack", protocol="again")
    assert settings(several, study)["protocol"]["rounds"] == 3
    assert digest(several, study) != digest(cell, study)


def test_grants_without_rounds_and_rounds_without_grants_are_refused() -> None:
    with pytest.raises(StudyError, match=r"threat_models\.three: 3 rounds are granted"):
        parse(raw(protocols=[{"name": "fedsgd", "rounds": 2}]))
    with pytest.raises(StudyError, match="needs a threat model that grants several 'rounds'"):
        parse(raw(threat_models=[{"id": "informed", "disclosure": True}]))


def test_the_stages_carry_several_rounds_to_the_scores(
    tiny_raw: dict[str, Any], run_study: Callable[..., Study], tmp_path: Path
) -> None:
    tiny_raw |= {
        "defenses": [{"name": "gaussian", "parameters": {"sigma": 0.2}}],
        "training_stages": ["untrained"],
        "priors": [],
        "protocols": [{"name": "fedsgd", "images": 1, "batch_size": 1, "rounds": 2}],
        "threat_models": [{"id": "one"}, {"id": "two", "disclosure": True, "rounds": 2}],
        "attacks": [
            {"name": "inverting_gradients", "iterations": 2},
            {
                "name": "inverting_gradients",
                "iterations": 2,
                "rounds": "joint",
                "only": {"threat_model": "two"},
            },
        ],
        "figures": [],
    }
    study = run_study(tiny_raw, tmp_path)
    (observed,) = cells(study)["observe"]
    seen = load_observation(observed.folder(study, tmp_path) / "observation.safetensors")
    assert len(seen.later) == 1
    alone, both = cells(study)["attack"]
    notes = [artifacts.read_manifest(one.folder(study, tmp_path))["notes"] for one in (alone, both)]
    assert "rounds" not in notes[0]
    assert notes[1]["rounds"] == "joint of 2"
    assert notes[1]["evaluations"] == 2 * notes[0]["evaluations"]
    assert "2 rounds of the same images" in notes[1]["threat_model"]
    (scored,) = cells(study)["score"]
    table = artifacts.read_table(scored.folder(study, tmp_path) / "scores.parquet")
    assert {both.attack, alone.attack} <= set(table["attack"])
    assert (table.loc[table["kind"] == "attack", "status"] == "complete").all()
