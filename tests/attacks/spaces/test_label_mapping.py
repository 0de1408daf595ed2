"""Drawing for one class and matching another: GIFD's coarse and fine pass, and the controls beside it."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradsiege.attacks import recipes
from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipe import Recipe
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.attacks.spaces.conditioning import CLASS, Conditioned, Translated, remap
from gradsiege.attacks.spaces.generator import LatentCodes
from gradsiege.errors import StudyError, ThreatModelError
from gradsiege.models import ModelSpec, build
from gradsiege.models.layers import initialize
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.mapping_classifier import MappingClassifier
from gradsiege.priors.staged_gan.generator import StagedGenerator
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel, strip

torch.set_num_threads(1)
SIDE, LATENT, CLASSES, PRIVATE = 16, 6, 3, 5
GIVEN, INFERRED = ThreatModel(id="given", labels="given"), ThreatModel(id="inferred")
# What the victims' images show, in the private classes and in the generator's.
LABELS, SHOWN = torch.tensor([[4, 0], [0, 3]]), torch.tensor([[1, 2], [2, 0]])
TABLE = (2, 1, 1, 0, 1)


def generator() -> StagedGenerator:
    """Random weights; the last layer is made stronger, so that images have contrast."""
    network = StagedGenerator(LATENT, 8, CLASSES, 3, SIDE)
    initialize(network, torch.Generator().manual_seed(0))
    network.requires_grad_(False).stages[-1].image.weight.mul_(4)
    return network


@pytest.fixture(scope="module")
def classifier() -> TrainedPrior:
    """Trained on the generator's images."""
    random = torch.Generator().manual_seed(1)
    labels = torch.arange(240) % CLASSES
    images = generator()(torch.randn(240, LATENT, generator=random), labels)
    learner = MappingClassifier(width=4, epochs=3, batch_size=32)
    return TrainedPrior("mapping_classifier", *learner.train(images, labels, random))


def knowledge(threat: ThreatModel, *further: TrainedPrior) -> Knowledge:
    """Two victims of two images that the generator made for `SHOWN`, with the private labels `LABELS`."""
    network = generator()
    z = torch.randn(4, LATENT, generator=torch.Generator().manual_seed(2))
    truth = network(z, SHOWN.flatten()).view(2, 2, 3, SIDE, SIDE)
    spec = ModelSpec("convnet", {"width": 4}, PRIVATE, 3, SIDE)
    model = build(spec, torch.Generator().manual_seed(1))
    parameters, buffers = split_state(model)
    training = LocalTraining("fedsgd", 2, 2, 1, 0.1, "eval")
    updates = [
        local_update(model, parameters, buffers, x, y, training)[0]
        for x, y in zip(truth, LABELS, strict=True)
    ]
    update = stacked(updates)
    seen = Observation.of_updates(spec, parameters, buffers, update, training, labels=LABELS)
    prior = TrainedPrior("staged_gan", dict(network.state_dict()), {"classes": CLASSES})
    return Knowledge(strip(seen, threat), threat, (prior, *further))


def gifd(known: Knowledge, mapping: str, iterations: int = 12, **parameters: Any) -> Recipe:
    parameters = {"label_mapping": mapping, **parameters}
    return recipes.build("gifd", parameters, "faithful", iterations, known)


def visited(known: Knowledge, recipe: Recipe, restarts: int = 2) -> list[State]:
    states: list[State] = []
    reconstruct(
        known, recipe, restarts, ("s",), pause=lambda state: states.append(copy.copy(state))
    )
    return states


def test_the_fine_pass_starts_afresh_with_the_classes_of_the_coarse_images(
    classifier: TrainedPrior,
) -> None:
    known = knowledge(GIVEN, classifier)
    recipe = gifd(known, "mapped", 88)
    assert [stage.iterations for stage in recipe.phases] == [2] * 4 + [20] * 4
    states = visited(known, recipe)
    fine = next(state for state in states if state.phase == 4)
    coarse = [state for state in states if state.phase == 3][-1]
    assert torch.equal(fine.x["z"], states[0].x["z"])
    assert not torch.equal(fine.x["z"], coarse.x["z"])
    # The coarse pass matched best in some stage; its image is what the classifier sees.
    only = replace(recipe, phases=recipe.phases[:4])
    found = [reconstruct(known, only, 1, ("s",))]
    network = MappingClassifier.load(classifier.weights)
    seen = network(found[0].images.flatten(0, 1)).argmax(1)
    first = fine.x[CLASS].view(2, 2, 2, CLASSES)[:, 0].flatten(0, 1)
    assert torch.equal(first.argmax(1), seen)
    assert torch.equal(first.sum(1), torch.ones(4))
    classes = [state.x[CLASS] for state in states if state.phase >= 4]
    assert all(torch.equal(one, classes[0]) for one in classes)


def test_the_inferred_label_stays_in_the_matching_loss(classifier: TrainedPrior) -> None:
    known = knowledge(GIVEN, classifier)
    found = reconstruct(known, gifd(known, "mapped"), 1, ("s",))
    assert torch.equal(found.labels, LABELS)
    # Only the fine pass is handed over.
    assert found.stages is not None
    assert found.stages.shape[1] == 4


def test_an_interrupted_fine_pass_ends_with_the_same_bits(classifier: TrainedPrior) -> None:
    known = knowledge(GIVEN, classifier)
    recipe = gifd(known, "mapped", 12)
    states: list[State] = []
    straight = reconstruct(
        known, recipe, 2, ("s",), pause=lambda state: states.append(copy.deepcopy(state))
    )
    for place in ((3, 1), (4, 0), (5, 2)):
        saved = next(state for state in states if (state.phase, state.iteration) == place)
        resumed = reconstruct(known, recipe, 2, ("s",), resume=lambda saved=saved: saved)
        assert torch.equal(resumed.images, straight.images)


def test_a_random_class_is_drawn_once_for_every_start() -> None:
    known = knowledge(GIVEN)
    states = visited(known, gifd(known, "random"), restarts=20)
    drawn = states[0].x[CLASS]
    assert torch.equal(drawn.sum(-1), torch.ones(40, 2))
    assert set(drawn.argmax(-1).flatten().tolist()) == {0, 1, 2}
    assert all(torch.equal(state.x[CLASS], drawn) for state in states)


def test_a_soft_class_moves_with_the_latent_and_stays_on_the_simplex() -> None:
    known = knowledge(GIVEN)
    states = visited(known, gifd(known, "soft", 40))
    torch.testing.assert_close(states[0].x[CLASS], torch.full((4, 2, CLASSES), 1 / CLASSES))
    for state in states:
        torch.testing.assert_close(state.x[CLASS].sum(-1), torch.ones(4, 2))
        assert state.x[CLASS].min() >= 0
    latent = [state.x[CLASS] for state in states if state.phase == 0]
    assert (latent[-1] - latent[0]).abs().max() > 0.1
    later = [state.x[CLASS] for state in states if state.phase > 0]
    assert all(torch.equal(one, later[0]) for one in later)


def test_the_oracle_draws_the_true_class_and_needs_it_granted() -> None:
    known = knowledge(GIVEN)
    space = gifd(known, "oracle", class_table=TABLE).phases[0].space
    assert isinstance(space, Translated)
    z = torch.randn(2, LATENT)
    drawn = space.decode({"z": z}, LABELS[0])[1]
    assert torch.equal(drawn, generator()(z, SHOWN[0]))
    assert torch.equal(space.labels({"z": z}, LABELS[0]), LABELS[0])
    with pytest.raises(ThreatModelError, match="grant labels"):
        gifd(knowledge(INFERRED), "oracle", class_table=TABLE)


def test_the_right_class_matches_better_than_the_private_label_read_as_one() -> None:
    known = knowledge(GIVEN)
    losses = {
        mapping: reconstruct(
            known, gifd(known, mapping, 40, stages=0, **more), 4, ("s",)
        ).matching_loss
        for mapping, more in (("none", {}), ("oracle", {"class_table": TABLE}))
    }
    assert losses["oracle"].mean() < 0.8 * losses["none"].mean()


def test_what_does_not_fit_is_refused(classifier: TrainedPrior) -> None:
    with pytest.raises(ThreatModelError, match="mapping_classifier"):
        gifd(knowledge(GIVEN), "mapped")
    other = replace(classifier, card={**classifier.card, "classes": 7})
    with pytest.raises(ThreatModelError, match="7 classes"):
        gifd(knowledge(GIVEN, other), "mapped")
    with pytest.raises(StudyError, match="class_table"):
        gifd(knowledge(GIVEN), "oracle", class_table=(0, 1))
    with pytest.raises(StudyError, match="label_mapping is none"):
        gifd(knowledge(GIVEN), "none", class_table=TABLE)


class Brightest(nn.Module):
    """Says which channel is the brightest."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


def test_every_image_of_every_element_is_mapped_by_itself() -> None:
    images = torch.zeros(3, 2, 3, 4, 4)
    wanted = torch.tensor([[0, 1], [2, 2], [1, 0]])
    for element in range(3):
        for image in range(2):
            images[element, image, wanted[element, image]] = 1
    starts = {"z": torch.randn(3, 2, 5)}
    mapped = remap(Brightest(), 4)(starts, images)
    assert torch.equal(mapped[CLASS].argmax(-1), wanted)
    assert mapped[CLASS].shape == (3, 2, 4)
    assert mapped["z"] is starts["z"]


def test_classes_that_are_not_optimised_have_no_gradient() -> None:
    mean, deviation = torch.full((3,), 0.5), torch.full((3,), 0.25)
    inner = LatentCodes(generator(), 2, mean, deviation)
    for optimised in (False, True):
        space = Conditioned(inner, 2, CLASSES, optimised)
        x = space.start(torch.Generator().manual_seed(0))
        gradient = torch.func.grad(
            lambda x, space=space: space.decode(x, torch.zeros(2, dtype=torch.long))[1].sum()
        )(x)
        assert bool(gradient[CLASS].any()) is optimised
        assert gradient["z"].any()
