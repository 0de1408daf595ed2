"""The sections of a study file, each with its keys, their defaults, and what may not stand together in one section."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from gradsiege import catalogue
from gradsiege.documents import Identifier, Section
from gradsiege.ranges import Count, Range, Rate

ROLES = ("train", "test", "aux", "public", "tune", "victims")
STAGES = ("untrained", "early", "late")
PROTOCOLS = ("fedsgd", "fedavg")
# Names that may stand in a study file and have no module of their own.
FIXED = {"training_stages": STAGES, "protocols": PROTOCOLS}
# Keys that say where an item stands in the study, and nothing about what it does there: no part of its settings.
PLACES = ("only", "counters")
# What may stand in `only`: the fields of a cell, and the stage, for what is trained and not attacked.
Place = Literal[
    "stage",
    "dataset",
    "model",
    "defense",
    "training_stage",
    "protocol",
    "seed",
    "threat_model",
    "attack",
]
Only = Annotated[
    dict[Place, Annotated[list[str | Annotated[int, Field(strict=True)]], Field(min_length=1)]],
    Field(min_length=1),
]
ImageSide = Annotated[int, Range(16, 512)]
# A number or a word is not a truth value, though it could be read as one.
Truth = Annotated[bool, Field(strict=True)]
Decay = Annotated[float, Range(0, 1, open_low=True)]
Concentration = Annotated[float, Range(1e-3, 1e6)]


class Placed(Section):
    """An item that may say where it applies; `only` is a list of alternatives, each from fields of a cell to ids."""

    only: list[Only] = Field(
        [],
        description="the cells that the item applies to, by their fields; of several mappings one must hold",
    )


class Named(Section):
    """Something with a canonical name (`gradsiege list`), its parameters, and an id used in paths."""

    name: Identifier
    id: Identifier = ""
    parameters: dict[str, Any] = Field({})

    @model_validator(mode="before")
    @classmethod
    def _fill_id(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"name": data}
        if isinstance(data, dict) and not data.get("id") and isinstance(data.get("name"), str):
            data = {**data, "id": data["name"]}
        return data


class Dataset(Named, Placed):
    """A data set at one image size, with the number of images in each role."""

    size: ImageSide = Field(32, description="side of the square images, in pixels")
    counts: dict[Literal["train", "test", "aux", "public", "tune", "victims"], Count]
    # What the source listed, where no published checksum says it. No study file holds it: `gradsiege.pipeline.identity`
    # fills it in, and every cell that reads the data set depends on it.
    source: SkipJsonSchema[dict[str, str]] = Field({})

    @model_validator(mode="after")
    def _all_roles(self) -> Dataset:
        missing = [role for role in ROLES if role not in self.counts]
        if missing:
            raise ValueError(f"counts lack the roles {', '.join(missing)}")
        return self

    @model_serializer(mode="wrap")
    def _without_empty_source(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Cells of data sets with published checksums keep the digests that they had before sources were recorded.
        fields: dict[str, Any] = handler(self)
        if not self.source:
            fields.pop("source", None)
        return fields


class Model(Named, Placed):
    """A victim classifier."""


class Method(Named, Placed):
    """A defense or an attack, in one arm; `sweep` makes one method per value of a parameter."""

    arm: Literal["faithful", "as_released"] = "faithful"
    sweep: dict[str, Annotated[list[float | int | str | bool], Field(min_length=1)]] = Field({})


class Defense(Method):
    """A client-side defense."""


class Prior(Named):
    """A prior that is trained on the `aux` role of the attacked data set, or of another one of the study."""

    dataset: Identifier | None = Field(None, description="id of the data set it is trained on")


class Attack(Method):
    """An attack recipe with its budget; `prior` is the id of one of the study's priors, or a list of several."""

    iterations: Count
    restarts: Count = 1
    prior: Identifier | list[Identifier] | None = None
    label_rule: Literal["automatic", "row_sum", "row_minimum", "bias_corrected", "projection"] = (
        Field("automatic", description="how labels are inferred where they are not granted")
    )
    update_model: Literal["unroll", "gradient", "surrogate", "detached"] = Field(
        "unroll",
        description="how the attacker models several local steps; detached: without a derivative, as Shadow's released attacks",
    )
    evaluated_at: Literal["global", "defended"] = Field(
        "global",
        description="weights of the candidate's update; defended: the uploaded ones, as TIP's released attack takes them",
    )
    patience: Count | None = Field(
        None, description="a victim's attack stops after so many iterations without progress"
    )
    rounds: Literal["first", "joint", "average"] = Field(
        "first",
        description="which of the granted rounds of a client are matched: the first alone, all of them together with one "
        "image, or their mean as if it were one update of the first model",
    )
    counter: str | None = Field(
        None,
        description="what an informed attacker does about a defense; meets that defense alone, and only where it is disclosed",
    )
    counters: list[str] = Field(
        [],
        description="one attack per counter: `none` is the attack without any, a defense's name stands for all its counters",
    )

    # The parameters that are chosen (`tuning` of the study). No study file holds them: they are those with a range that it leaves out.
    tuned: SkipJsonSchema[list[str]] = Field([])

    @property
    def requires(self) -> tuple[str, ...]:
        """What a threat model must grant: the needs of the recipe, then those of the counter."""
        needs = catalogue.entries("attacks")[self.name].requires
        more = catalogue.entries("counters")[self.counter].requires if self.counter else ()
        several = ("rounds",) if self.rounds != "first" else ()
        return tuple(dict.fromkeys((*needs, *more, *several)))

    @property
    def uses_disclosure(self) -> bool:
        """Whether a disclosed defense changes what the attack does: it has a counter, or its recipe looks at the disclosure."""
        entry = catalogue.entries("attacks")[self.name]
        return self.counter is not None or "disclosure" in (*entry.requires, *entry.uses)

    def meets(self, defense: Defense, threat: Threat) -> bool:
        """Whether the attack is run: with a counter, only on the defense that it answers, and where that is disclosed.

        One that needs the disclosure itself, whatever the defense, runs wherever that is granted. One that uses no
        disclosure runs under no threat model that discloses, unless its `only` names that threat model. An attack on
        several rounds runs where several are granted, and no other attack does: it would ignore the grant. The same holds
        for candidates.
        """
        if (self.rounds != "first") != (threat.rounds > 1):
            return False
        if ("candidates" in self.requires) != threat.candidates:
            return False
        if "disclosure" in self.requires and not threat.disclosure:
            return False
        named = any(threat.id in alternative.get("threat_model", []) for alternative in self.only)
        if threat.disclosure and not (self.uses_disclosure or named):
            return False
        return self.counter is None or catalogue.answers(self.counter, defense.name)

    @property
    def budget(self) -> dict[str, Any]:
        """The fields that every attack has (`gradsiege.attacks.base.Attack`), as this one sets them."""
        names = ("iterations", "restarts", "label_rule", "update_model", "evaluated_at", "patience")
        return {name: getattr(self, name) for name in (*names, "rounds", "counter")}

    @property
    def priors(self) -> list[str]:
        """Ids of all priors that the attack reads."""
        return [self.prior] if isinstance(self.prior, str) else list(self.prior or ())


class Federation(Section):
    """Federated training: FedAvg over simulated clients (McMahan et al., 2017)."""

    clients: Count = 10
    clients_per_round: Count = Field(
        10, description="clients that train in a round; unless given, 10, or all if there are fewer"
    )
    rounds: Count = 20
    local_epochs: Count = 1
    batch_size: Count = 32
    learning_rate: Rate = 0.05
    milestones: list[Count] = Field(
        [], description="rounds after which the learning rate is multiplied by `decay`"
    )
    decay: Decay = 0.1
    partition: Literal["iid", "dirichlet", "sizes"] = "iid"
    alpha: Concentration = Field(0.5, description="concentration of the Dirichlet partition")
    client_images: list[Count] = Field(
        [], description="images of every client, of all classes alike (partition: sizes)"
    )
    client_batches: list[Count] = Field(
        [], description="images per local step of every client, instead of batch_size"
    )
    early_round: Count = Field(
        2, description="the round of the stage `early`; unless given, 2, or the last but one"
    )

    def round_of(self, stage: str) -> int:
        """Return how many rounds were over at a training stage.

        >>> [Federation(rounds=9).round_of(stage) for stage in STAGES]
        [0, 2, 9]
        """
        return {"untrained": 0, "early": self.early_round, "late": self.rounds}[stage]

    @model_validator(mode="before")
    @classmethod
    def _follow(cls, data: Any) -> Any:
        """Let the defaults of two keys follow small numbers of clients and of rounds."""
        if not isinstance(data, dict):
            return data
        for key, most, by in (("clients_per_round", "clients", 0), ("early_round", "rounds", 1)):
            number = data.get(most)
            if key not in data and isinstance(number, int) and by < number < cls._default(key) + by:
                data = {**data, key: number - by}
        return data

    @classmethod
    def _default(cls, key: str) -> int:
        default: int = cls.model_fields[key].default
        return default

    @model_validator(mode="after")
    def _consistent(self) -> Federation:
        if self.clients_per_round > self.clients:
            raise ValueError(
                f"clients_per_round is larger than clients: {self.clients_per_round} of {self.shown('clients')}; lower it"
            )
        if self.early_round >= self.rounds:
            raise ValueError(
                "early_round must be smaller than rounds (late is the last round): "
                f"{self.shown('early_round')} is not below {self.shown('rounds')}"
            )
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise, not {self.milestones}")
        if self.milestones and self.milestones[-1] >= self.rounds:
            raise ValueError(
                f"milestones must be below rounds ({self.rounds}), not {self.milestones[-1]}: it would change nothing"
            )
        if (self.partition == "sizes") != bool(self.client_images):
            raise ValueError("partition: sizes and client_images need each other")
        for name in ("client_images", "client_batches"):
            given = len(getattr(self, name))
            if given not in (0, self.clients):
                raise ValueError(f"{name} has {given} entries for {self.clients} clients")
        return self


class Protocol(Placed):
    """What one client does before it uploads: one gradient (fedsgd) or several local steps (fedavg)."""

    id: Identifier
    name: Literal["fedsgd", "fedavg"]
    images: Count = Field(1, description="private images of the client")
    batch_size: Count = Field(
        1, description="images per local step; fedsgd uses all images at once"
    )
    epochs: Count = Field(1, description="local passes over the images (fedavg)")
    learning_rate: Rate = Field(0.01, description="local learning rate")
    mode: Literal["eval", "train"] = Field("eval", description="batch-norm mode of the local steps")
    duplicates: Truth = Field(
        False, description="group victims by class, so that batches hold a label several times"
    )
    rounds: Count = Field(
        1,
        description="consecutive rounds in which the victims take part with the same images; the server takes the mean of "
        "their updates in between",
    )

    @property
    def training(self) -> dict[str, Any]:
        """What the client does with its images, without how they were chosen."""
        return self.model_dump(exclude={"id", "duplicates", "rounds", *PLACES})

    @model_validator(mode="before")
    @classmethod
    def _fill_id(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"name": data}
        if isinstance(data, dict) and "name" in data:
            data = {"id": data["name"], **data}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        if self.name == "fedsgd" and (self.epochs != 1 or self.batch_size != self.images):
            raise ValueError(
                "fedsgd is one step on all images: set batch_size = images and epochs = 1; images is "
                f"{self.shown('images')}, batch_size {self.shown('batch_size')}, epochs {self.shown('epochs')}"
            )
        if self.batch_size > self.images:
            raise ValueError(
                f"batch_size must be at most images ({self.shown('images')}), not {self.shown('batch_size')}"
            )
        return self


class Threat(Placed):
    """What the attacker knows; everything that is not granted is stripped from the observation."""

    id: Identifier
    labels: Literal["given", "inferred", "wrong"] = "inferred"
    protocol: Truth = Field(True, description="local learning rate, steps and batch-norm mode")
    disclosure: Truth = Field(False, description="the defense and its public parameters")
    auxiliary: Truth = Field(True, description="auxiliary images, and priors trained on them")
    batch_statistics: Truth = Field(
        False, description="mean and variance of the private batch at every batch norm"
    )
    rounds: Count = Field(
        1, description="rounds of a client that the attacker knows to be of the same images"
    )
    candidates: Truth = Field(
        False, description="a gallery of images that holds the private ones, never which they are"
    )

    @property
    def grants(self) -> dict[str, Any]:
        """Id and grants, without where they apply."""
        return self.model_dump(exclude=set(PLACES))


class Tuning(Section):
    """Attacks choose their settings on simulated clients of auxiliary images; the same effort for every attack."""

    trials: Annotated[int, Range(2, 64)] = Field(
        6, description="choices of settings that are tried; the first is the attack as it stands"
    )
    clients: Count = Field(4, description="simulated clients that every trial meets")


class Deviation(Section):
    """Where the study departs from a paper, in words for the report."""

    what: str
    why: str


class Gain(Section):
    """Two attacks of the study that differ in one idea: what `attack` recovers above `against`, for `table_gains`."""

    idea: str = Field(description="what the first has and the second lacks, in a few words")
    attack: Identifier
    against: Identifier
