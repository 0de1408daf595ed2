"""The study file: what a person writes by hand, validated so that a typo is an error that names the key."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gradsiege import catalogue
from gradsiege.errors import StudyError, nearest

ROLES = ("train", "test", "aux", "public", "tune", "victims")
STAGES = ("untrained", "early", "late")
PROTOCOLS = ("fedsgd", "fedavg")
# Keys of an attack, beside its parameters, that may stand in its sweep.
BUDGET = ("iterations", "restarts")
# Names that may stand in a study file and have no module of their own.
FIXED = {"training_stages": STAGES, "protocols": PROTOCOLS}
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=80)]
Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Named(Section):
    """Something with a canonical name (`gradsiege list`), its parameters, and an id used in paths."""

    name: Identifier
    id: Identifier = ""
    parameters: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _fill_id(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"name": data}
        if isinstance(data, dict) and not data.get("id") and "name" in data:
            data = {**data, "id": data["name"]}
        return data


class Dataset(Named):
    """A data set at one image size, with the number of images in each role."""

    size: int = Field(32, ge=16, le=512, description="side of the square images, in pixels")
    counts: dict[Literal["train", "test", "aux", "public", "tune", "victims"], Positive]

    @model_validator(mode="after")
    def _all_roles(self) -> Dataset:
        missing = [role for role in ROLES if role not in self.counts]
        if missing:
            raise ValueError(f"counts lack the roles {', '.join(missing)}")
        return self


class Model(Named):
    """A victim classifier."""


class Method(Named):
    """A defense or an attack, in one arm; `sweep` makes one method per value of a parameter."""

    arm: Literal["faithful", "as_released"] = "faithful"
    sweep: dict[str, Annotated[list[float | int | str | bool], Field(min_length=1)]] = {}


class Defense(Method):
    """A client-side defense."""


class Prior(Named):
    """A prior that is trained on the `aux` role of the attacked data set, or of another one of the study."""

    dataset: Identifier | None = Field(None, description="id of the data set it is trained on")


class Attack(Method):
    """An attack recipe with its budget; `prior` is the id of one of the study's priors, or a list of several."""

    iterations: Positive
    restarts: Positive = 1
    prior: Identifier | list[Identifier] | None = None
    label_rule: Literal["automatic", "row_sum", "row_minimum", "bias_corrected"] = Field(
        "automatic", description="how labels are inferred where they are not granted"
    )
    update_model: Literal["unroll", "gradient", "surrogate", "detached"] = Field(
        "unroll",
        description="how the attacker models several local steps; detached: without a derivative, as Shadow's released attacks",
    )
    evaluated_at: Literal["global", "defended"] = Field(
        "global",
        description="weights of the candidate's update; defended: the uploaded ones, as TIP's released attack takes them",
    )
    patience: Positive | None = Field(
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

    @property
    def requires(self) -> tuple[str, ...]:
        """What a threat model must grant: the needs of the recipe, then those of the counter."""
        own = catalogue.entries("attacks")[self.name].requires
        more = catalogue.entries("counters")[self.counter].requires if self.counter else ()
        several = ("rounds",) if self.rounds != "first" else ()
        return tuple(dict.fromkeys((*own, *more, *several)))

    def meets(self, defense: Defense, threat: Threat) -> bool:
        """Whether the attack is run: with a counter, only on the defense that it answers, and where that is disclosed.

        One that needs the disclosure itself, whatever the defense, runs wherever that is granted. An attack on several rounds runs where several are granted, and no other attack does: it would ignore the grant.
        """
        if (self.rounds != "first") != (threat.rounds > 1):
            return False
        if "disclosure" in self.requires and not threat.disclosure:
            return False
        return self.counter is None or self.counter.partition(".")[0] == defense.name

    @property
    def priors(self) -> list[str]:
        """Ids of all priors that the attack reads."""
        return [self.prior] if isinstance(self.prior, str) else list(self.prior or ())


class Federation(Section):
    """Federated training: FedAvg over simulated clients (McMahan et al., 2017)."""

    clients: Positive = 10
    clients_per_round: Positive = 10
    rounds: Positive = 20
    local_epochs: Positive = 1
    batch_size: Positive = 32
    learning_rate: float = Field(0.05, gt=0)
    milestones: list[Positive] = Field(
        [], description="rounds after which the learning rate is multiplied by `decay`"
    )
    decay: float = Field(0.1, gt=0)
    partition: Literal["iid", "dirichlet", "sizes"] = "iid"
    alpha: float = Field(0.5, gt=0, description="concentration of the Dirichlet partition")
    client_images: list[Positive] = Field(
        [], description="images of every client, of all classes alike (partition: sizes)"
    )
    client_batches: list[Positive] = Field(
        [], description="images per local step of every client, in the place of batch_size"
    )
    early_round: Positive = 2

    def round_of(self, stage: str) -> int:
        """Return how many rounds were over at a training stage.

        >>> [Federation(rounds=9).round_of(stage) for stage in STAGES]
        [0, 2, 9]
        """
        return {"untrained": 0, "early": self.early_round, "late": self.rounds}[stage]

    @model_validator(mode="after")
    def _consistent(self) -> Federation:
        if self.clients_per_round > self.clients:
            raise ValueError("clients_per_round is larger than clients")
        if self.early_round >= self.rounds:
            raise ValueError("early_round must be smaller than rounds (late is the last round)")
        if (self.partition == "sizes") != bool(self.client_images):
            raise ValueError("partition: sizes and client_images need each other")
        for name in ("client_images", "client_batches"):
            given = len(getattr(self, name))
            if given not in (0, self.clients):
                raise ValueError(f"{name} has {given} entries for {self.clients} clients")
        return self


class Protocol(Section):
    """What one client does before it uploads: one gradient (fedsgd) or several local steps (fedavg)."""

    id: Identifier
    name: Literal["fedsgd", "fedavg"]
    images: Positive = Field(1, description="private images of the client")
    batch_size: Positive = Field(
        1, description="images per local step; fedsgd uses all images at once"
    )
    epochs: Positive = Field(1, description="local passes over the images (fedavg)")
    learning_rate: float = Field(0.01, gt=0, description="local learning rate")
    mode: Literal["eval", "train"] = Field("eval", description="batch-norm mode of the local steps")
    duplicates: bool = Field(
        False, description="group victims by class, so that batches hold a label several times"
    )
    rounds: Positive = Field(
        1,
        description="consecutive rounds in which the victims take part with the same images; the server takes the mean of "
        "their updates in between",
    )

    @property
    def training(self) -> dict[str, Any]:
        """What the client does with its images, without how they were chosen."""
        return self.model_dump(exclude={"id", "duplicates", "rounds"})

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
                "fedsgd is one step on all images: set batch_size = images and epochs = 1"
            )
        return self


class Threat(Section):
    """What the attacker knows; everything that is not granted is stripped from the observation."""

    id: Identifier
    labels: Literal["given", "inferred"] = "inferred"
    protocol: bool = Field(True, description="local learning rate, steps and batch-norm mode")
    disclosure: bool = Field(False, description="the defense and its public parameters")
    auxiliary: bool = Field(True, description="auxiliary images, and priors trained on them")
    batch_statistics: bool = Field(
        False, description="mean and variance of the private batch at every batch norm"
    )
    rounds: Positive = Field(
        1, description="rounds of a client that the attacker knows to be of the same images"
    )


class Deviation(Section):
    """Where the study departs from a paper, in words for the report."""

    what: str
    why: str


class Gain(Section):
    """Two attacks of the study that differ in one idea: what `attack` recovers above `against`, for `table_gains`."""

    idea: str = Field(description="what the first has and the second lacks, in a few words")
    attack: Identifier
    against: Identifier


class Study(Section):
    """One study: the product of its lists, cut by `include` and `exclude`."""

    study: Identifier
    description: str = ""
    seed: int = 0
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)
    victims: Positive = Field(8, description="updates attacked in every cell (the sampling unit)")
    explained: int = Field(
        0,
        ge=0,
        description="first victims whose uploaded models are explained, before and after the defense",
    )
    datasets: list[Dataset] = Field(min_length=1)
    models: list[Model] = Field(min_length=1)
    defenses: list[Defense] = Field(min_length=1)
    federation: Federation = Federation()
    training_stages: list[Literal["untrained", "early", "late"]] = Field(
        ["untrained"], min_length=1
    )
    protocols: list[Protocol] = Field(min_length=1)
    threat_models: list[Threat] = Field(min_length=1)
    priors: list[Prior] = []
    attacks: list[Attack]
    gains: list[Gain] = Field([], description="pairs of attacks whose paired gain is tabulated")
    figures: list[Identifier] = []
    deviations: list[Deviation] = []
    include: list[dict[str, str | int | list[str] | list[int]]] = []
    exclude: list[dict[str, str | int | list[str] | list[int]]] = []

    def one(self, section: str, identifier: str) -> Any:
        """Return the item of a section by id, e.g. ``study.one("defenses", "tip")``."""
        for item in getattr(self, section):
            if item.id == identifier:
                return item
        known = [item.id for item in getattr(self, section)]
        raise StudyError(
            f"{self.study}: no id {identifier!r} in {section}; {nearest(identifier, known)}"
        )


def _expand_sweep(method: dict[str, Any]) -> list[dict[str, Any]]:
    """One method per combination of swept values, its id made of the values; an attack's budget may be swept too."""
    sweep, own = method.get("sweep"), method.get("parameters", {})
    lists = isinstance(sweep, dict) and all(isinstance(v, list) and v for v in sweep.values())
    if not sweep or not lists or not isinstance(own, dict):
        # Not swept, or so wrong that the validation must see it.
        return [method]
    method = {key: value for key, value in method.items() if key != "sweep"}
    base = method.get("id") or method["name"]
    expanded = []
    for values in itertools.product(*sweep.values()):
        chosen = dict(zip(sweep, values, strict=True))
        suffix = "-".join(f"{key}{value}" for key, value in chosen.items())
        budget = {key: chosen.pop(key) for key in BUDGET if key in chosen}
        parameters = {**own, **chosen}
        named = {**method, **budget, "id": f"{base}-{suffix}", "parameters": parameters}
        expanded.append(named)
    return expanded


def _with_id(item: dict[str, Any]) -> dict[str, Any]:
    """Give a method without an id one that names its arm, unless that is the faithful one, its counter and its rounds."""
    released = ["as_released"] if item.get("arm", "faithful") == "as_released" else []
    counter = [str(item["counter"])] if item.get("counter") else []
    several = item.get("rounds", "first")
    rounds = [f"{several}_rounds"] if several != "first" else []
    if item.get("id") or not (released or counter or rounds):
        return item
    return {**item, "id": "-".join([str(item["name"]), *released, *counter, *rounds])}


def _expand(raw: dict[str, Any]) -> dict[str, Any]:
    out = dict(raw)
    for section in ("defenses", "attacks"):
        items = raw.get(section)
        if not isinstance(items, list):
            continue
        dicts = [dict(item) if isinstance(item, dict) else {"name": item} for item in items]
        if not all("name" in item for item in dicts):
            continue
        dicts = [_with_id(item) for item in dicts]
        out[section] = [single for item in dicts for single in _expand_sweep(item)]
    return out


def _resolve(study: Study) -> Study:
    """Fill in every default parameter and refuse unknown names, with the place in the file."""
    sections = ("datasets", "models", "priors", "defenses", "attacks")
    update: dict[str, Any] = {}
    for section in sections:
        resolved = []
        for item in getattr(study, section):
            place = f"{section}.{item.id}"
            entry = catalogue.lookup(section, item.name, place)
            if isinstance(item, Method) and item.arm not in entry.arms:
                arms = ", ".join(entry.arms)
                raise StudyError(f"{place}: {item.name} has no arm {item.arm!r}, only {arms}")
            if isinstance(item, Attack) and item.counter:
                catalogue.lookup("counters", item.counter, place)
            parameters = entry.validate(item.parameters, place)
            resolved.append(item.model_copy(update={"parameters": parameters}))
        update[section] = resolved
    for figure in study.figures:
        catalogue.lookup("figures", figure, "figures")
    return study.model_copy(update=update)


def _ids(study: Study) -> dict[str, list[Any]]:
    """The ids that stand in every list of the study, by the field of a cell that holds one of them."""
    return {
        "dataset": [item.id for item in study.datasets],
        "model": [item.id for item in study.models],
        "defense": [item.id for item in study.defenses],
        "training_stage": list(study.training_stages),
        "protocol": [item.id for item in study.protocols],
        "seed": list(study.seeds),
        "threat_model": [item.id for item in study.threat_models],
        "attack": [item.id for item in study.attacks],
    }


def _check_ids(study: Study) -> None:
    """Refuse an id that stands twice, and a rule of include or exclude that names an unknown one."""
    ids = _ids(study)
    others = {"prior": [item.id for item in study.priors], "figure": list(study.figures)}
    for field, known in {**ids, **others}.items():
        for identifier in known:
            if known.count(identifier) > 1:
                raise StudyError(
                    f"{field}s: {identifier!r} stands twice; leave one out or give it another id"
                )
    for section in ("include", "exclude"):
        for rule in getattr(study, section):
            for field, wanted in rule.items():
                if field not in ids:
                    raise StudyError(
                        f"{section}: unknown key {field!r}; {nearest(field, list(ids))}"
                    )
                for value in wanted if isinstance(wanted, list) else [wanted]:
                    if value not in ids[field]:
                        hint = nearest(str(value), [str(known) for known in ids[field]])
                        raise StudyError(
                            f"{section}: {field} {value!r} is not in the study; {hint}"
                        )


def _check_learned(study: Study) -> None:
    """Refuse what says how updates are matched, beside an attack that matches none."""
    matching = ("restarts", "update_model", "evaluated_at", "patience", "rounds", "counter")
    for attack in study.attacks:
        if "prior:auxiliary_images" not in catalogue.entries("attacks")[attack.name].requires:
            continue
        for key in matching:
            if getattr(attack, key) != Attack.model_fields[key].default:
                raise StudyError(
                    f"attacks.{attack.id}: {attack.name} learns from simulated clients and matches no update, so that "
                    f"{key!r} would change nothing; leave it out"
                )


def _check_gains(study: Study) -> None:
    """Refuse a gain of an attack over itself, or of one that the study does not have."""
    known = [attack.id for attack in study.attacks]
    for gain in study.gains:
        for identifier in (gain.attack, gain.against):
            if identifier not in known:
                raise StudyError(
                    f"gains: no attack {identifier!r} in the study; {nearest(identifier, known)}"
                )
        if gain.attack == gain.against:
            raise StudyError(
                f"gains: {gain.attack!r} is compared with itself; name another attack in `against`"
            )


def _check(study: Study) -> None:
    """Refuse contradictions between sections."""
    _check_ids(study)
    _check_gains(study)
    _check_learned(study)
    if study.explained > study.victims:
        raise StudyError(
            f"explained: {study.explained} victims cannot be explained of {study.victims}; "
            "lower it, or raise victims"
        )
    images = max(protocol.images for protocol in study.protocols)
    for dataset in study.datasets:
        if dataset.counts["victims"] < study.victims * images:
            raise StudyError(
                f"datasets.{dataset.id}: {study.victims} victims of up to {images} images need "
                f"{study.victims * images} images in counts.victims, not {dataset.counts['victims']}"
            )
        clients = sum(study.federation.client_images)
        if dataset.counts["train"] < clients:
            raise StudyError(
                f"datasets.{dataset.id}: federation.client_images are {clients} images in all; "
                f"counts.train is only {dataset.counts['train']}"
            )
    for prior in study.priors:
        if prior.dataset is not None:
            study.one("datasets", prior.dataset)
    most = max(protocol.rounds for protocol in study.protocols)
    for threat in study.threat_models:
        if threat.rounds > most:
            raise StudyError(
                f"threat_models.{threat.id}: {threat.rounds} rounds are granted, but clients take part in {most} at most; "
                "raise 'rounds' of a protocol"
            )
    priors = {prior.id: prior.name for prior in study.priors}
    for attack in study.attacks:
        needed = [
            requirement.removeprefix("prior:")
            for requirement in catalogue.entries("attacks")[attack.name].requires
            if requirement.startswith("prior:")
        ]
        for identifier in attack.priors:
            if identifier not in priors:
                raise StudyError(
                    f"attacks.{attack.id}: unknown prior {identifier!r}; "
                    + (nearest(identifier, list(priors)) if priors else "the study has none")
                )
        everywhere = itertools.product(study.defenses, study.threat_models)
        if attack.rounds != "first" and all(one.rounds == 1 for one in study.threat_models):
            raise StudyError(
                f"attacks.{attack.id}: 'rounds: {attack.rounds}' needs a threat model that grants several 'rounds'"
            )
        if not any(attack.meets(*pair) for pair in everywhere):
            what = attack.counter or attack.name
            defense = f"a defense {what.partition('.')[0]!r} and " if attack.counter else ""
            raise StudyError(
                f"attacks.{attack.id}: {what} needs {defense}a threat model with 'disclosure: true' in the study; "
                "add what is missing, or leave the attack out"
            )
        if needed and not {priors[identifier] for identifier in attack.priors} & set(needed):
            raise StudyError(
                f"attacks.{attack.id}: {attack.name} needs 'prior:' to be the id of a prior "
                f"of the kind {' or '.join(needed)}; the study has: {', '.join(priors) or 'none'}"
            )


def explain(error: ValidationError, place: str, raw: Any = None) -> str:
    """Turn a validation error into one sentence per problem, with the nearest known key."""
    lines = []
    for problem in error.errors():
        location = problem["loc"]
        where = ".".join(_named(location, raw))
        if problem["type"] == "extra_forbidden":
            known = _keys_at(location[:-1])
            lines.append(f"unknown key {where!r}; {nearest(str(location[-1]), known)}")
        elif location[-1:] == ("[key]",) and "counts" in location:
            key = where.removesuffix(".[key]")
            lines.append(f"unknown key {key!r}; {nearest(str(location[-2]), ROLES)}")
        else:
            lines.append(f"{where or 'study'}: {problem['msg'].removeprefix('Value error, ')}")
    return f"{place}: " + "; ".join(lines)


def _named(location: tuple[int | str, ...], raw: Any) -> list[str]:
    """Parts of a location; the place in a list becomes the id or name of what stands there.

    Sweeps make several defenses of one, so a number would not be the one that a person counts in the file.
    """
    parts = [str(part) for part in location]
    try:
        item = raw[location[0]][location[1]]
        parts[1] = str(item.get("id") or item["name"])
    except (AttributeError, IndexError, KeyError, TypeError):
        pass
    return parts


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """Known keys of the section at a location such as ``("defenses", 0)``."""
    sections: dict[str, type[Section]] = {
        "datasets": Dataset,
        "models": Model,
        "defenses": Defense,
        "federation": Federation,
        "protocols": Protocol,
        "threat_models": Threat,
        "priors": Prior,
        "attacks": Attack,
        "gains": Gain,
    }
    model = sections.get(str(location[0]), Study) if location else Study
    return list(model.model_fields)


def parse(raw: object, place: str = "study") -> Study:
    """Validate a study given as plain data; every default is filled in afterwards."""
    if not isinstance(raw, dict):
        raise StudyError(f"{place}: a study file is a mapping of keys, not {type(raw).__name__}")
    expanded = _expand(raw)
    try:
        study = Study.model_validate(expanded)
    except ValidationError as error:
        raise StudyError(explain(error, place, expanded)) from error
    try:
        study = _resolve(study)
        _check(study)
    except StudyError as error:
        raise StudyError(f"{place}: {error}") from error
    return study


def load(path: Path | str) -> Study:
    """Read and validate a study file (YAML)."""
    path = Path(path)
    if not path.is_file():
        raise StudyError(f"study file {path} does not exist")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is not valid YAML: {error}") from error
    return parse(raw, str(path))
