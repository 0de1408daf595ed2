"""CENSOR keeps the length of every tensor's update and gives it an orthogonal direction (Zhang et al., NDSS 2025)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from gradsiege.arithmetic import square_root
from gradsiege.attacks import labels
from gradsiege.attacks.counters.anchors import anchor_of, drifts
from gradsiege.attacks.counters.noise import coordinates
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.counters.stacked_directions import STACK, NullSpace, SpreadAlong, whitened
from gradsiege.errors import ThreatModelError
from gradsiege.protocol.local_update import Tensors, as_rows

VERSION = 3
REQUIRES = ("disclosure",)
BY_NAME = ("likelihood", "null_space")
TINY = 1e-12
# The deviation of a candidate's log-length from the truth's, which is received exactly: the attacker's own error. Not tuned.
DOUBT = 0.1


def norms_and_orthogonality_distance(candidate: Tensors, observed: Tensors) -> Tensor:
    """Return the mean over tensors of log(|c| / |o|)^2 + cos(c, o)^2: zero if the lengths are equal and the angle is right.

    >>> seen = {"a": torch.tensor([3.0, 4.0])}
    >>> float(norms_and_orthogonality_distance({"a": torch.tensor([4.0, -3.0])}, seen))
    0.0
    >>> float(norms_and_orthogonality_distance({"a": torch.tensor([3.0, 4.0])}, seen))
    1.0
    """
    parts = []
    for name, value in observed.items():
        guess = candidate[name]
        squares, wanted = guess.square().sum() + TINY, value.square().sum() + TINY
        ratio = (squares / wanted).log() / 2
        parts.append(ratio.square() + (guess * value).sum().square() / (squares * wanted))
    return torch.stack(parts).mean()


def _parts(candidate: Tensors, observed: Tensors) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return for every tensor its size d, cos(c, o)^2, log(|c| / |o|) and |o|, each ``[tensors]``."""
    pairs = [(candidate[name], value) for name, value in observed.items()]
    ours = torch.stack([guess.square().sum() for guess, _ in pairs]) + TINY
    theirs = torch.stack([value.square().sum() for _, value in pairs]) + TINY
    products = torch.stack([(guess * value).sum() for guess, value in pairs])
    sizes = ours.new_tensor([value.numel() for _, value in pairs])
    return (
        sizes,
        products.square() / (ours * theirs),
        (ours / theirs).log() / 2,
        square_root(theirs),
    )


def faithful_likelihood(candidate: Tensors, observed: Tensors) -> Tensor:
    """Return sum_l (d_l t_l^2 + log^2(|c_l| / |o_l|) / DOUBT^2) / 2, t_l = cos(c_l, o_l), in nats per coordinate.

    A wrong candidate's t_l^2 is 1 / d_l in the mean, so every tensor counts alike; the length is exact.

    >>> seen = {"a": torch.tensor([3.0, 4.0])}
    >>> float(faithful_likelihood({"a": torch.tensor([4.0, -3.0])}, seen))
    0.0
    >>> round(float(faithful_likelihood({"a": torch.tensor([3.0, 4.0])}, seen)), 4)
    0.5
    """
    sizes, squares, ratios, _ = _parts(candidate, observed)
    return (sizes * squares + (ratios / DOUBT).square()).sum() / (2 * coordinates(observed))


def released_likelihood(candidate: Tensors, observed: Tensors) -> Tensor:
    """Return -sum_l (d_l t_l^2 / 2) (1 - (|o_l| - 1)^-2) over tensors longer than 2, in nats per coordinate.

    The released direction keeps the part (u g)(1 - |g|) / |g| of a random u along g, so that t_l is N(0, (|g_l| - 1)^2 / d_l) at
    the truth and N(0, 1 / d_l) elsewhere; this is the negative log-ratio of the two laws, its constant left out.

    >>> seen = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([0.5, 0.5])}
    >>> one = {"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([1.0, 1.0])}
    >>> round(float(released_likelihood(one, seen)), 4)
    -0.1875
    """
    sizes, squares, _, lengths = _parts(candidate, observed)
    gain = torch.where(lengths > 2, 1 - (lengths - 1).clamp_min(1).square().reciprocal(), 0)
    return -(sizes * squares * gain).sum() / (2 * coordinates(observed))


def label_by_orthogonality(plan: AttackPlan) -> Tensor:
    """Return the label of a single image, ``[victims, 1]``, from the upload of the head's bias.

    The true gradient of the bias is p - onehot(y), and the upload o is orthogonal to it: o[y] = p . o. The attacker takes p
    of a grey image, which is close as long as the model is unsure.
    """
    seen = plan.knowledge.observation
    upload = plan.head.bias_in(seen.update, "censor.norms_and_orthogonality")
    grey = torch.full((1, *seen.image_shape), 0.5, device=upload.device, dtype=upload.dtype)
    state = {**seen.parameters, **seen.buffers}
    logits: Tensor = functional_call(plan.knowledge.model(), state, (grey,))
    expected = upload @ logits.softmax(-1)[0]
    return (upload - expected[:, None]).abs().argmin(-1, keepdim=True)


def norms_and_orthogonality(plan: AttackPlan) -> AttackPlan:
    """Match the received lengths and right angles: two equations per tensor, all the information in a faithful upload.

    A few dozen equations cannot determine thousands of pixels, so expect no recognisable image;
    the label of a single image does leak. As released the directions are not orthogonal: only the lengths hold, and
    a plain attack on the received direction is stronger.
    """
    return _with_label(plan.with_distance(norms_and_orthogonality_distance))


def likelihood(plan: AttackPlan) -> AttackPlan:
    """Match by what each arm's directions say, weighed by the tensors' sizes, in nats.

    Faithful: right angles and lengths; the label of a single image follows from the angles. As released: the upload of a
    long tensor lies along the true one more than chance allows; the label follows from the row sums.
    """
    faithful = plan.disclosure.get("arm") == "faithful"
    return _with_label(plan.with_distance(faithful_likelihood if faithful else released_likelihood))


def _with_label(plan: AttackPlan) -> AttackPlan:
    """Set the label of a single image by what the arm leaks of it; the labels of a batch stay as they are."""
    if plan.images_per_client > 1 or plan.knows_labels:
        return plan
    if plan.disclosure.get("arm") == "faithful":
        return plan.with_labels(label_by_orthogonality(plan))
    return plan.with_labels(label_by_row_sums(plan.update, plan))


def label_by_row_sums(update: Tensors, plan: AttackPlan) -> Tensor:
    """Return the label of a single image, ``[victims, 1]``, as released: by the head's weight alone.

    Each tensor has a direction of its own, so that the weight's rows and the bias no longer belong together. The weight is
    the longer tensor, and lies along the true one more than the bias does.
    """
    return labels.row_sum(update, 1, plan.head)


def label_of_null_vector(uploads: Tensor) -> Tensor:
    """Return labels ``[victims]`` from uploads of the head's bias in several rounds, ``[victims, K, classes]``.

    The true gradient p - onehot(y) is orthogonal to all of them and sums to zero. Its entry y weighs as much as all others
    together, so the largest entry of the vector nearest to orthogonal is the label, whatever p is.

    >>> label_of_null_vector(torch.tensor([[[2.0, 1.0, 0.0], [4.0, 2.0, 0.0]]]))
    tensor([1])
    """
    rows = uploads / uploads.norm(dim=-1, keepdim=True).clamp_min(TINY)
    ones = torch.ones_like(rows[:, :1]) * rows.shape[1]
    vectors = torch.linalg.svd(torch.cat([rows, ones], 1), full_matrices=True).Vh
    largest: Tensor = vectors[:, -1].abs().argmax(-1)
    return largest


def null_space(plan: AttackPlan) -> AttackPlan:
    """Match what the uploads of several rounds say together (`stacked_directions`), of the same images.

    With ``rounds: average`` the candidate's gradient is taken at the first global model alone, at the cost of a single
    round; with ``rounds: joint`` at the model of every round, each with all rounds, for as many times that cost.
    It takes every round for a defended one. The released client stops after its disclosed `rounds`, and sends the gradient
    itself from then on, which needs no counter.

    Raises:
        ThreatModelError: the attack sees a single round.
    """
    rounds = plan.granted
    if len(rounds) < 2:
        raise ThreatModelError(
            "censor.null_space stacks the uploads of several rounds: give the attack 'rounds: average' or 'joint', and a threat "
            "model that grants several rounds"
        )
    share = 1.0 if plan.averaged > 1 else 1 / len(rounds)
    place = anchor_of(plan, rounds)
    stacks = {name: torch.stack([seen.update[name] for seen in rounds], 1) for name in plan.update}
    lengths, drift = rounds[place].update, drifts(rounds, place)
    if plan.disclosure.get("arm") != "faithful":
        # The client's choice gives every upload a part along the gradient, which the mean of all shows best.
        mean = {name: value.mean(1) for name, value in stacks.items()}
        informed = plan
        if plan.images_per_client == 1:
            informed = plan.with_labels(label_by_row_sums(mean, plan))
        evidence = stacks
        distance: NullSpace | SpreadAlong = SpreadAlong(
            int(plan.disclosure["trials"]), drift, share
        )
    else:
        informed = plan
        if plan.images_per_client == 1 and not plan.knows_labels:
            bias = plan.head.bias_in(stacks, "censor.null_space")
            enough = bias.shape[1] + 2 >= bias.shape[2]
            label = label_of_null_vector(bias)[:, None] if enough else label_by_orthogonality(plan)
            informed = plan.with_labels(label)
        evidence = {name: _rows(value, drift[name]) for name, value in stacks.items()}
        distance = NullSpace(share)
    beside = {name + STACK: value for name, value in evidence.items()}
    return informed.matching({**lengths, **beside}).with_distance(distance)


def _rows(stack: Tensor, drift: Tensor) -> Tensor:
    """Return the whitened rows ``[victims, rows, *shape]`` of a tensor's uploads ``[victims, K, *shape]``."""
    rows = torch.stack([whitened(as_rows(victim), drift) for victim in stack])
    return rows.reshape(*rows.shape[:2], *stack.shape[2:])
