"""GIFD as released: the last restart, no sphere, granted labels as an order, a disclosed strength; and what is refused."""

from dataclasses import replace

import pytest
import torch
from gifd_victims import CLASSES, GIVEN, INFERRED, gifd, natural_victims, observe, visited
from torch import Tensor
from victims import SIDE, smooth

from gradsiege.attacks import labels as label_rules
from gradsiege.attacks.generators import staged_generator
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.errors import StudyError, ThreatModelError
from gradsiege.protocol.threat_model import ThreatModel

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def natural() -> tuple[Knowledge, Tensor]:
    return natural_victims()


def test_as_released_shows_the_last_restart_under_the_least_loss(
    natural: tuple[Knowledge, Tensor],
) -> None:
    knowledge, _ = natural
    fair = reconstruct(knowledge, gifd(knowledge, 20), 3, ("t",))
    odd = reconstruct(knowledge, gifd(knowledge, 20, last_restart=True), 3, ("t",))
    assert gifd(knowledge, 20, "as_released").restart == "last"
    assert gifd(knowledge, 20, "as_released", last_restart=False).restart == "least"
    assert torch.equal(odd.matching_loss, fair.matching_loss)
    assert odd.restart.tolist() == [2, 2]
    assert (fair.restart != 2).any(), "the case tells nothing if the last restart is the best"
    changed = fair.restart != 2
    assert not torch.equal(odd.images[changed], fair.images[changed])
    # The same starts, so the last restart's own run shows what is returned.
    alone = [loss[:, 2] for step, loss in fair.trace if step == 5]
    assert (torch.stack(alone, 1).amin(1)[changed] > odd.matching_loss[changed]).all()


def test_as_released_leaves_the_sphere(natural: tuple[Knowledge, Tensor]) -> None:
    knowledge, _ = natural
    spread = {}
    for sphere in (None, True):
        recipe = gifd(knowledge, 20, "as_released", stages=0, sphere=sphere)
        spread[sphere] = visited(knowledge, recipe)[-1].x["z"].norm(dim=-1).std()
    assert spread[True] < 1e-5
    assert spread[None] > 0.01


def test_granted_labels_order_the_inferred_ones_as_released() -> None:
    truth, labels = smooth(4).view(2, 2, 3, SIDE, SIDE), torch.tensor([[2, 0], [3, 1]])
    released = {
        threat.id: reconstruct(
            knowledge, gifd(knowledge, 4, "as_released", stages=0), 1, ("s",)
        ).labels
        for threat in (GIVEN, INFERRED)
        for knowledge in [observe(truth, labels, threat)]
    }
    assert released["inferred"].tolist() == [[0, 2], [1, 3]]
    assert released["given"].tolist() == labels.tolist()


def test_ordering_moves_inferred_labels_and_never_corrects_them() -> None:
    inferred, given = torch.tensor([[1, 4, 7], [2, 2, 3]]), torch.tensor([[7, 2, 1], [3, 2, 2]])
    assert label_rules.ordered(inferred, given).tolist() == [[7, 4, 1], [3, 2, 2]]
    generator = torch.Generator().manual_seed(0)
    guesses, truths = (torch.randint(5, (50, 4), generator=generator) for _ in range(2))
    found = label_rules.ordered(guesses, truths)
    assert torch.equal(found.sort(1).values, guesses.sort(1).values)
    assert (found == truths).sum() > (guesses == truths).sum()


def test_a_disclosed_strength_is_used_as_released_and_estimated_otherwise() -> None:
    truth, labels = smooth(2)[:, None], torch.tensor([[0], [1]])
    informed = ThreatModel(id="informed", disclosure=True)
    disclosure = {"defense": "sparsification", "sparsity": 0.5}
    knowledge = observe(truth, labels, informed, disclosure=disclosure)
    dense = {"a": torch.randn(50, generator=torch.Generator().manual_seed(0))}
    distances = {
        arm: gifd(knowledge, 4, arm).phases[0].distance(dense, dense)
        for arm in ("faithful", "as_released")
    }
    # Nothing is zero in what is observed, so the estimate is that nothing was dropped.
    assert abs(distances["faithful"]) < 1e-6
    assert distances["as_released"] > 1e-3
    blind = observe(truth, labels, INFERRED, disclosure=disclosure)
    assert gifd(blind, 4, "as_released").phases[0].distance is cosine
    unclear = observe(truth, labels, informed, disclosure={"defense": "sparsification"})
    with pytest.raises(ThreatModelError, match="sparsity"):
        gifd(unclear, 4, "as_released")


def test_impossible_settings_are_refused(natural: tuple[Knowledge, Tensor]) -> None:
    knowledge, _ = natural
    with pytest.raises(StudyError, match="0 to 3"):
        gifd(knowledge, 4, stages=4)
    with pytest.raises(ThreatModelError, match="staged_gan"):
        gifd(replace(knowledge, priors=()), 4)
    assert staged_generator(knowledge, "test").classes == CLASSES
