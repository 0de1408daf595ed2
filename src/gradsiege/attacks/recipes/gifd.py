"""GIFD: a search over a generator's latent, then over its features one after the other (Fang et al., ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from gradsiege.attacks.base import Arm, Attack
from gradsiege.attacks.generators import staged_generator
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.label_mapping import conditioned, remapping
from gradsiege.attacks.objectives.distances import Distance, cosine
from gradsiege.attacks.objectives.estimated_transforms import after
from gradsiege.attacks.objectives.regularizers import l2, total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.spaces.feature_radii import ball_radius
from gradsiege.attacks.spaces.features import Features, feature_shapes
from gradsiege.attacks.spaces.generator import LatentCodes
from gradsiege.attacks.spaces.space import Space
from gradsiege.attacks.spaces.styled_features import StyledFeatures
from gradsiege.errors import StudyError
from gradsiege.priors.staged_gan.generator import Staged
from gradsiege.priors.stylegan2 import StyleGAN2Network
from gradsiege.ranges import CountOrZero, PositiveSize, Rate, Tuned, Weight

VERSION = 1
ARMS = ("faithful", "as_released")
REQUIRES = ("protocol", "prior:staged_gan", "prior:biggan", "prior:stylegan2")
USES = ("disclosure",)

# Iterations of a coarse stage by those of a fine one: 100 to 1,000.
COARSE = 0.1


def split_iterations(iterations: int, stages: int, coarse: bool = False) -> list[tuple[int, ...]]:
    """Return the iterations of every stage of each pass: equal parts, the rest to the first; each at least 1.

    With a coarse pass before the fine one, a coarse stage gets a tenth of a fine one.

    >>> split_iterations(402, 4), split_iterations(4400, 4, coarse=True)
    ([(101, 101, 100, 100)], [(100, 100, 100, 100), (1000, 1000, 1000, 1000)])
    """
    first = max(1, round(iterations * COARSE / (1 + COARSE) / stages)) if coarse else 0
    per_stage, rest = divmod(iterations - first * stages, stages)
    fine = tuple(max(1, per_stage + (place < rest)) for place in range(stages))
    return [(first,) * stages, fine] if coarse else [fine]


@dataclass(frozen=True)
class Gifd(Attack):
    """The released constants; published with 4 restarts and 1,000 iterations per stage.

    The paper's ablations are settings: GIFD-z is stages 0; GIFD-f is no ball and select last; GIFD-e is no ball. BigGAN and
    StyleGAN2 themselves have their own radii. With StyleGAN2 every stage also searches the codes and the first 5 + 2k noise maps, as
    released.

    Attributes:
        stages: K, the last stage of the generator that is searched; None for all.
        ball: hold the features within l1 balls.
        select: the stage whose image is returned: that of the least matching loss, or the ``last``.
        iterate: with which a stage ends: its ``last``, as released; with ``least`` it never ends worse than the one before, so that
            both selections agree.
        radii: those of one of the paper's generators, carried over by `ball_radius`. StyleGAN2's has one feature per side, as ours.
        radius_scale: multiplies all radii.
        learning_rate: of Adam in every stage.
        total_variation: its weight beside the matching loss.
        l2: weight of the image's mean square, divided by its side squared.
        transformation: the defense whose strength is estimated: ``disclosed`` takes the kind from the disclosure, if that is granted.
        label_mapping: from classes to the generator's: the journal's, and controls of it (arXiv 2604.00955).
        class_table: the generator's class of every private one, for the oracle.
        sphere, last_restart: defects of the release; None takes the arm's.
        arm: sets these two.
    """

    name = "gifd"
    requires = REQUIRES
    further_priors = ("mapping_classifier",)

    stages: CountOrZero | None = None
    ball: bool = True
    select: Literal["least", "last"] = "least"
    iterate: Literal["last", "least"] = "last"
    radii: Literal["stylegan2", "biggan"] = "stylegan2"
    radius_scale: Annotated[PositiveSize, Tuned(1, 32)] = 1.0
    learning_rate: Annotated[Rate, Tuned(0.02, 0.5)] = 0.1
    total_variation: Annotated[Weight, Tuned(1e-5, 0.1)] = 1e-4
    l2: Weight = 1e-6
    transformation: Literal["disclosed", "none", "clipping", "sparsification", "soteria"] = (
        "disclosed"
    )
    label_mapping: Literal["none", "mapped", "random", "oracle", "soft"] = "none"
    class_table: tuple[CountOrZero, ...] = ()
    sphere: bool | None = None
    last_restart: bool | None = None
    arm: Arm = "faithful"

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: minimise 1 - cos(T(grad x), g) + a TV(x) + b |x|_2 / side^2 over z, then over h_1, ..., h_K in turn.

        T is what the defense did, if its kind is disclosed or named. Faithful: latents stay on the sphere, the images are those
        of the least loss; a stage of StyleGAN2 goes on with the image that the stages before it made. As released: no sphere;
        that image is forgotten wherever a stage begins; the images of the last restart under the loss of the least one; and what
        a threat model grants is used as the release uses its own knowledge of it: granted labels order the
        inferred ones, a disclosure gives T its true strength instead of an estimated one.
        """
        network = staged_generator(knowledge, "gifd")
        spaces = search_spaces(self, knowledge, network)
        distance = matching(self, knowledge)
        mapping, classes = self.label_mapping, network.classes
        *coarse, fine = split_iterations(self.iterations, len(spaces), mapping == "mapped")
        drawn = conditioned(spaces, mapping, self.class_table, classes, knowledge)
        basis = _stage(self, network, spaces[0], distance)

        stages = [
            replace(basis, space=space, iterations=part)
            for space, part in zip(drawn, fine, strict=True)
        ]
        if coarse:
            stages[0] = replace(stages[0], again=remapping(classes, knowledge))
            first = zip(spaces, *coarse, strict=True)
            stages = [
                replace(basis, space=space, iterations=part) for space, part in first
            ] + stages
        released = self.arm == "as_released"
        last = released if self.last_restart is None else self.last_restart
        return Recipe(
            tuple(stages), self.select, "last" if last else "least", ordered_labels=released
        )


def search_spaces(attack: Gifd, knowledge: Knowledge, network: Staged) -> list[Space]:
    """Return the latent space, then the K feature spaces with their balls; StyleGAN2's stages search codes and noises in all."""
    shape, mean, deviation = knowledge.pixel_arguments()
    shapes = feature_shapes(network)
    depth = len(shapes) if attack.stages is None else attack.stages
    if not 0 <= depth <= len(shapes):
        raise StudyError(f"gifd: stages is 0 to {len(shapes)} with this generator, not {depth}")

    def scaled(radius: float) -> float | None:
        return attack.radius_scale * radius if attack.ball else None

    if isinstance(network, StyleGAN2Network):
        drop = attack.arm == "as_released"
        return [
            StyledFeatures(network, shape[0], mean, deviation, stage, scaled(radius), drop=drop)
            for stage, radius in enumerate(network.stage_radii[: depth + 1])
        ]
    sphere = attack.arm == "faithful" if attack.sphere is None else attack.sphere
    bound: Literal["sphere", "none"] = "sphere" if sphere else "none"
    spaces: list[Space] = [LatentCodes(network, shape[0], mean, deviation, bound)]
    for place, feature in enumerate(shapes[:depth], start=1):
        radius = network.radii[place - 1] if network.radii else ball_radius(feature, attack.radii)
        spaces.append(Features(network, shape[0], mean, deviation, place, scaled(radius)))
    return spaces


def matching(attack: Gifd, knowledge: Knowledge) -> Distance:
    """Return the cosine distance after T, whose strength is estimated or, as released, the disclosed one."""
    disclosure = knowledge.observation.disclosure
    kind: str = attack.transformation
    if kind == "disclosed":
        kind = str((disclosure or {}).get("defense", "none"))
    return after(cosine, kind, knowledge, disclosure if attack.arm == "as_released" else None)


def _stage(attack: Gifd, network: Staged, space: Space, distance: Distance) -> Phase:
    """Return what all stages share; each has its own space and iterations."""
    return Phase(
        space=space,
        distance=distance,
        regularizers=(
            (attack.total_variation, total_variation),
            (attack.l2 / network.size**2, l2),
        ),
        optimizer=Adam(attack.learning_rate, schedule="ramps"),
        iterations=1,
        iterate=attack.iterate,
    )
