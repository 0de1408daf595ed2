"""Counters as a whole: what they need, where they fit, and that every engine runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from simulated_clients import with_clients

from gradsiege import artifacts, catalogue
from gradsiege.attacks import counters, recipes
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.engine.autotune import EnginePolicy
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.objective import Problem, Target
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.reconstruct import reconstruct, starting_points
from gradsiege.errors import ThreatModelError
from gradsiege.models import build
from gradsiege.pipeline.cells import cells
from gradsiege.protocol.reconstruction import load_reconstruction
from gradsiege.protocol.threat_model import ThreatModel, strip
from gradsiege.study import Study, parse

Scenes = Callable[..., Any]
# They need several rounds of one client, and have tests of their own (`test_several_rounds`, `test_censor_null_space`).
SEVERAL_ROUNDS = {"censor.null_space", "shadow.two_round_extrapolation"}
EVERY = [name for name in catalogue.entries("counters") if name not in SEVERAL_ROUNDS]
# Strengths at which a defense does something to so small a model.
SETTINGS: dict[str, dict[str, Any]] = {
    "gaussian": {"sigma": 0.05},
    "laplace": {"scale": 0.05},
    "clipping": {"bound": 0.5},
    "dp_sgd": {"bound": 0.5, "noise_multiplier": 0.01},
    "precode": {"units": 8},
    "censor": {"trials": 2},
}
# Whose disclosure is enough to plant them: the update of these is that of another defense.
PLANTED = {"agp": "tip", "tip_dp": "gaussian"}
SHADOW = {"defense": "shadow", "amplitude": 0.19, "scrambled_map": False}
# The candidate that is the truth has no distance left.
EXACT = {
    "agp.clean_tensors",
    "censor.norms_and_orthogonality",
    "clipping.scale_free",
    "precode.exact",
    "shadow.denoise",
    "soteria.drop_layer",
    "soteria.estimated_mask",
    "sparsification.on_support",
    "tip.clean_tensors",
    "tip.drop_flagged_channels",
    "tip.keep_kernel_means",
    "top_k.on_support",
}


def scene_for(name: str, defended: Scenes) -> Any:
    """Victims of the defense that a counter answers."""
    defense = name.partition(".")[0]
    if defense == "generic":
        return defended("soteria")
    if defense == "shadow":
        scene = defended("none")
        return replace(scene, seen=replace(scene.seen, disclosure=SHADOW))
    stand_in = PLANTED.get(defense, defense)
    scene = defended(stand_in, SETTINGS.get(stand_in, {}))
    disclosure = {**scene.seen.disclosure, "defense": defense}
    return replace(scene, seen=replace(scene.seen, disclosure=disclosure))


def inform(name: str, knowledge: Knowledge, attack: str = "inverting_gradients") -> Any:
    """(knowledge, recipe) of an attack with a counter."""
    recipe = recipes.build(attack, {}, "faithful", 3, knowledge)
    plan = AttackPlan(knowledge, recipe)
    if name.startswith("generic."):
        plan = with_clients(plan)
    informed = counters.apply(name, plan)
    return informed.knowledge, informed.recipe


def problem_of(knowledge: Knowledge, phase: Phase) -> tuple[Problem, Target]:
    """The first phase as engines get it."""
    seen = knowledge.observation
    model = build(seen.model).to(next(iter(seen.parameters.values())).dtype)
    consensus = torch.zeros(seen.victims, seen.images_per_client, *seen.image_shape)
    target = Target(seen.labels, seen.update, consensus, {})
    return Problem(model, seen, seen.training, phase), target


def at_images(knowledge: Knowledge, recipe: Recipe, images: torch.Tensor) -> torch.Tensor:
    """Matching losses of given images ``[victims, images, c, h, w]``."""
    phase = replace(recipe.phases[0], space=knowledge.pixels(), regularizers=())
    problem, target = problem_of(knowledge, phase)
    _, mean, deviation = knowledge.pixel_arguments()
    x = {"x": (images - mean[:, None, None]) / deviation[:, None, None]}
    return ENGINES["loop"](problem)(x, target)[1]


@pytest.mark.parametrize("name", EVERY)
def test_engines_agree_on_every_counter(name: str, defended: Scenes) -> None:
    scene = scene_for(name, defended).double()
    knowledge, recipe = inform(name, scene.knowledge)
    problem, target = problem_of(knowledge, recipe.phases[0])
    x = starting_points(recipe.phases[0], 2, 1, ("engines",))
    x = {key: value.double() for key, value in x.items()}
    expected = ENGINES["loop"](problem)(x, target)
    assert torch.isfinite(expected[1]).all()
    assert expected[0]["x"].abs().sum() > 0
    for engine in ("vmap", "factored"):
        found = ENGINES[engine](problem)(x, target)
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)


# At the truth it needs the client's draw beside the images, as in `test_precode_batches`.
WITH_A_DRAW = "precode.sampled_codes"


@pytest.mark.parametrize("name", [name for name in EVERY if name != WITH_A_DRAW])
def test_the_truth_matches_better_than_another_image(name: str, defended: Scenes) -> None:
    scene = scene_for(name, defended).double()
    scene = replace(scene, seen=replace(scene.seen, labels=scene.labels))
    granted = ThreatModel(id="all", labels="given", disclosure=True)
    knowledge, recipe = inform(name, Knowledge(scene.seen, granted))
    right = at_images(knowledge, recipe, scene.truth)
    wrong = at_images(knowledge, recipe, scene.truth.flip(0))
    assert (right < wrong).all()
    if name in EXACT:
        assert (right.abs() < 1e-6).all()
        assert (wrong > 1e-3).all()


@pytest.mark.parametrize("name", EVERY)
def test_counters_lower_their_own_loss(name: str, defended: Scenes) -> None:
    scene = scene_for(name, defended)
    knowledge, recipe = inform(name, scene.knowledge)
    found = reconstruct(knowledge, recipe, 1, ("s",), policy=EnginePolicy("factored"))
    assert torch.isfinite(found.images).all()
    assert (found.matching_loss <= found.trace[0][1].amin(1)).all()


@pytest.mark.parametrize("name", EVERY)
def test_a_counter_needs_the_disclosure(name: str, defended: Scenes) -> None:
    scene = scene_for(name, defended)
    blind = ThreatModel(id="blind")
    knowledge = Knowledge(strip(scene.seen, blind), blind)
    with pytest.raises(ThreatModelError, match=rf"{name} needs disclosure.*'blind'"):
        inform(name, knowledge)


def test_a_counter_refuses_another_defense_than_its_own(defended: Scenes) -> None:
    with pytest.raises(ThreatModelError, match=r"an answer to tip, but the disclosed .* is gauss"):
        inform("tip.whitened", defended("gaussian").knowledge)


def test_labels_are_inferred_from_what_was_received_and_given_ones_are_kept(
    defended: Scenes,
) -> None:
    """Dropping the head, from which labels are read, must not cost the label."""
    scene = defended("soteria")
    knowledge, _ = inform("soteria.drop_layer", scene.knowledge)
    assert torch.equal(knowledge.observation.labels, scene.labels)
    granted = ThreatModel(id="all", labels="given", disclosure=True)
    told = Knowledge(replace(scene.seen, labels=scene.labels + 1), granted)
    knowledge, _ = inform("soteria.drop_layer", told)
    assert torch.equal(knowledge.observation.labels, scene.labels + 1)


@pytest.mark.parametrize("attack", ["modern_inverting_gradients", "idlg", "gradinversion"])
def test_other_recipes_take_a_counter_that_drops_the_head(attack: str, defended: Scenes) -> None:
    knowledge, recipe = inform("soteria.drop_layer", defended("soteria").knowledge, attack)
    found = reconstruct(knowledge, recipe, 1, ("s",), policy=EnginePolicy("factored"))
    assert torch.isfinite(found.matching_loss).all()


def test_a_surrogate_point_stays_where_nothing_is_matched(defended: Scenes) -> None:
    scene = defended("soteria", images=2, steps=2)
    knowledge, recipe = inform("soteria.drop_layer", scene.knowledge)
    problem, _ = problem_of(knowledge, replace(recipe.phases[0], update_model="surrogate"))
    observed = {name: value[0] for name, value in knowledge.observation.update.items()}
    point = problem.point({"surrogate": torch.tensor(0.0)}, observed)
    assert torch.equal(point["body.head.weight"], scene.seen.parameters["body.head.weight"])
    moved = scene.seen.parameters["body.head.bias"] - 0.05 * observed["body.head.bias"]
    torch.testing.assert_close(point["body.head.bias"], moved)


def test_an_update_of_which_nothing_is_left_is_refused(defended: Scenes) -> None:
    scene = defended("soteria")
    head = {k: v for k, v in scene.seen.update.items() if k.endswith("head.weight")}
    only_head = replace(scene.seen, update=head, labels=scene.labels)
    granted = ThreatModel(id="all", labels="given", disclosure=True)
    with pytest.raises(ThreatModelError, match="nothing of the update is left"):
        inform("soteria.drop_layer", Knowledge(only_head, granted))


def test_the_distance_of_a_stage_is_all_that_a_view_changes(defended: Scenes) -> None:
    knowledge = defended("tip").knowledge
    recipe = recipes.build("inverting_gradients", {}, "faithful", 3, knowledge)
    informed = counters.apply("tip.keep_kernel_means", AttackPlan(knowledge, recipe))
    (before,), (after,) = recipe.phases, informed.recipe.phases
    assert after.distance != before.distance
    assert replace(after, distance=before.distance) == before


# ---- in a study ----


def informed_study(raw: dict[str, Any]) -> dict[str, Any]:
    raw["threat_models"].append({"id": "informed", "disclosure": True})
    raw["attacks"] = [
        {
            "name": "inverting_gradients",
            "iterations": 5,
            "counters": ["none", "gaussian.likelihood"],
            "only": {"threat_model": ["labels_inferred", "informed"]},
        },
    ]
    return raw


def test_a_cell_with_a_counter_runs_and_is_scored_under_its_own_name(
    study_copy: tuple[Study, Path], verb: Callable[..., int], tiny_raw: dict[str, Any]
) -> None:
    _, root = study_copy
    file = root / "tiny.yaml"
    file.write_text(yaml.safe_dump(informed_study(tiny_raw)))
    study = parse(tiny_raw)
    of_stage = cells(study)
    chosen = [
        cell
        for cell in of_stage["attack"]
        if cell.training_stage == "untrained" and cell.defense == "gaussian"
    ]
    assert [(cell.threat_model, cell.attack) for cell in chosen] == [
        ("labels_inferred", "inverting_gradients"),
        ("informed", "inverting_gradients"),
        ("informed", "inverting_gradients-gaussian.likelihood"),
    ]
    score = next(cell for cell in of_stage["score"] if cell == chosen[0].at("score"))
    common = ("--study", file, "--root", root)
    for cell in chosen:
        assert verb("attack", cell.key, *common) == 0
    assert verb("score", score.key, *common) == 0
    table = artifacts.read_table(score.folder(study, root) / "scores.parquet")
    told = table[table.kind == "attack"].groupby("attack").size().to_dict()
    assert told == {"inverting_gradients": 4, "inverting_gradients-gaussian.likelihood": 2}
    plain, countered = (
        load_reconstruction(cell.folder(study, root) / "reconstructions.safetensors")
        for cell in chosen[1:]
    )
    assert not torch.equal(plain.images, countered.images)
    manifest = artifacts.read_manifest(chosen[2].folder(study, root))
    assert manifest["notes"]["counter"] == "gaussian.likelihood"
