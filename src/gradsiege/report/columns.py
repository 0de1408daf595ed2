"""The column dictionary: what every column and every quantity of a data file means, with its unit and range.

A data file is long and tidy: one row per measurement, named by identifier columns, then `quantity` and its numbers
(`report/tidy.py`). Every file uses the same names, and all of them stand here. Figures of another distribution declare
columns of their own in their modules (``OWN_COLUMNS``).
"""

from __future__ import annotations

from dataclasses import dataclass

from gradsiege import catalogue
from gradsiege.catalogue import Entry
from gradsiege.errors import StudyError

SHARE, DECIBEL, COUNT, SECONDS = "1", "dB", "count", "s"
AS_METRIC = "unit of the metric"
FLAG = "0 or 1"


@dataclass(frozen=True)
class Column:
    """A column: its meaning, and which values it takes."""

    meaning: str
    values: str = "text"


@dataclass(frozen=True)
class Quantity:
    """A quantity: what one row says.

    unit: "1" for shares and other pure numbers, "text" for words. values: the range. n: the count in the same table
    that the quantity rests on. of: the identifiers that it depends on (empty: all of its table), so that the accuracy
    of a defense stands once, and not once per attack.
    """

    meaning: str
    unit: str
    values: str = ""
    n: str = ""
    of: frozenset[str] = frozenset()

    @property
    def is_text(self) -> bool:
        """Whether it is told in words."""
        return self.unit == "text"


INDEX, ANY = "integer from 0", "any number"
IDENTIFIERS = {
    "claim": Column("claim of the ledger, config/claims.yaml"),
    "source": Column("where the row comes from", "published, measured, ours"),
    "dataset": Column("data set, by its id in the study file"),
    "model": Column("network, by its id in the study file"),
    "method": Column("attack or defense by the name of its method, where the table compares methods"),
    "rival": Column("attack by the name of its method, as published"),
    "setting": Column("data and model in words"),
    "arm": Column("arm of the defense that a claim is about", "faithful, as_released"),
    "defense": Column("defense, by its id in the study file"),
    "strength": Column("parameter of the defense that the study sweeps, with its value"),
    "against": Column("what the row is compared with: attack, defense or method of the same kind"),
    "switches": Column("defects of released code that are switched on"),
    "idea": Column("the one thing in which an attack and `against` differ"),
    "noise": Column("how loud the noise of the compared defenses is"),
    "training_stage": Column("when the model was attacked", "untrained, early, late"),
    "protocol": Column("local training of a client, by its id in the study file"),
    "threat_model": Column("what the attacker knows, by its id in the study file; empty for a control"),
    "labels": Column("whether the attacker has the labels", "given, inferred"),
    "batch_statistics": Column("whether the attacker has the batch's own batch-norm statistics", "True, False"),
    "attack": Column("attack or control, by its id in the study file"),
    "kind": Column("sort of method in the column `attack`", "attack, identification (chosen among candidates, without fidelity), control, bound"),
    "informed": Column("whether the attacker knows the defense", "True, False"),
    "role": Column(
        "part that the attacker plays for a defense",
        "no_defense, floor (needs no update beyond its label), non_adaptive, generic (one counter for any defense), "
        "best_informed, adaptive, worst_case (highest PSNR), worst_identified (highest rate), control",
    ),
    "label_rule": Column("rule that infers labels from the update"),
    "duplicates": Column("whether batches repeat labels", "True, False"),
    "panel": Column("part of the figure", "attacks, defenses"),
    "axis": Column("what makes the attack harder", "batch, noise, sparsity, epochs, fraction, prior"),
    "x": Column("place on the axis", "number; a name on the axis prior"),
    "series": Column("line of the chart"),
    "phase": Column("stage of a generator search: the latent z, then hidden features", "z, h1, h2, ..."),
    "scope": Column("what is ranked: all reconstructions, or attacks on one image", "all, victim"),
    "first": Column("one metric of a pair"),
    "second": Column("the other metric of the pair"),
    "metric": Column("metric that a published change or a comparison is about"),
    "curve": Column("score of an explanation", "deletion, insertion"),
    "k": Column("length of the list of nearest gallery images", "integer from 1"),
    "round": Column("federated round", INDEX),
    "seed": Column("repetition of the training", INDEX),
    "victim": Column("client whose update was attacked", INDEX),
    "image": Column("image of the victim", INDEX),
    "quantile": Column("quantile of PSNR at which the victim was chosen", "0 to 1"),
    "reference": Column("attack whose PSNR chose the victim"),
    "layer": Column("convolution of the network, by name"),
    "channel": Column("output channel of the layer", INDEX),
    "vertical": Column("vertical frequency of the kernel", "cycles per kernel side"),
    "horizontal": Column("horizontal frequency of the kernel", "cycles per kernel side"),
    "choice": Column("one choice of settings, by the first digits of its digest; cells with the same made it once"),
    "trial": Column("settings that were tried; 0 is the attack as it stands", INDEX),
    "stage": Column("stage of the pipeline", "fetch, prior, shadow, federate, observe, attack, score, publish"),
    "device": Column("machine of the jobs"),
}  # fmt: skip
MEASUREMENT = {
    "quantity": Column("what was measured: a name of the list of quantities"),
    "value": Column("the measurement, at full precision; empty for words", "number"),
    "low": Column("lower limit of the 95 % interval, empty where there is none", "number"),
    "high": Column("upper limit of the 95 % interval", "number"),
    "n": Column("number of units that the value rests on: victims, images, pairs or seeds", "integer from 0"),
    "unit": Column("unit of value and limits", "dB, 1, count, s, MiB, 0 or 1, text, ..."),
    "text": Column("the measurement in words; empty for numbers"),
}  # fmt: skip

# What belongs to a trained model and its defense does not depend on who attacks it.
MODEL = frozenset(
    ("source", "claim", "dataset", "model", "method", "defense", "strength", "against", "switches", "noise", "round")
)  # fmt: skip
CELL = frozenset(("dataset", "model", "defense", "training_stage", "protocol"))
AT_RANK = CELL | {"k"}
PHASES = CELL | {"threat_model", "attack"}
OUTCOME = frozenset(("claim", "dataset", "model", "arm"))
NOISE = frozenset(("dataset", "model", "noise"))
LEAST, LIKENESS = "0 or more", "0 to 1, higher leaks more"
ACCURACY, CHANGE = "0 to 1", "-1 to 1"
P_VALUE = "0 to 1"
QUANTITIES = {
    # fidelity
    "psnr": Quantity("mean peak signal-to-noise ratio of the reconstructions, each at most 100", DECIBEL, "up to 100, higher leaks more", "victims"),
    "ssim": Quantity("mean structural similarity", SHARE, "-1 to 1, higher leaks more", "victims"),
    "haarpsi": Quantity("mean Haar wavelet similarity", SHARE, LIKENESS, "victims"),
    "lpips": Quantity("mean perceptual distance, AlexNet", SHARE, "0 or more, lower leaks more", "victims"),
    "lpips_vgg": Quantity("mean perceptual distance, VGG16", SHARE, "0 or more, lower leaks more", "victims"),
    "bound_psnr": Quantity("PSNR of the images that the client trained on to the private ones", DECIBEL, "up to 100", of=MODEL),
    "bound_ssim": Quantity("SSIM of the images that the client trained on", SHARE, "-1 to 1", of=MODEL),
    "bound_lpips": Quantity("LPIPS of the images that the client trained on", SHARE, LEAST, of=MODEL),
    "control_psnr": Quantity("highest mean PSNR of a control in the same place", DECIBEL, "up to 100", of=CELL),
    "psnr_selected": Quantity("PSNR of the phase that the attack returned", DECIBEL, "up to 100", "victims", PHASES),
    "psnr_last": Quantity("PSNR of the last phase", DECIBEL, "up to 100", "victims", PHASES),
    "psnr_best": Quantity("PSNR of the best phase, chosen by the truth", DECIBEL, "up to 100", "victims", PHASES),
    "matching_loss": Quantity("median distance of the updates after the phase", SHARE, "depends on the distance", "victims"),
    # identification and labels
    "identified": Quantity("share of images whose victim is among the k nearest by pixels, or the nearest; a failed one is not", SHARE, LIKENESS, "victims"),
    "identified_lpips": Quantity("the same share by LPIPS (AlexNet)", SHARE, LIKENESS, "victims"),
    "identified_chance": Quantity("rate of a guess in the gallery in which the attacker identifies", SHARE, "0 to 1"),
    "chance": Quantity("that share for a guess", SHARE, "0 to 1", of=AT_RANK),
    "label_accuracy": Quantity("share of a batch's labels that were inferred", SHARE, LIKENESS, "victims"),
    # paired differences
    "psnr_change": Quantity("mean paired difference in PSNR on the same victims, to `against`, the baseline or the attacker without grants", DECIBEL, ANY, "pairs"),
    "ssim_change": Quantity("the same in SSIM", SHARE, "-2 to 2", "pairs"),
    "lpips_change": Quantity("the same in LPIPS (AlexNet)", SHARE, ANY, "pairs"),
    "lpips_vgg_change": Quantity("the same in LPIPS (VGG16)", SHARE, ANY, "pairs"),
    "to_none": Quantity("mean paired difference in PSNR to the strongest attack without a defense", DECIBEL, ANY),
    "to_blind": Quantity("the same to the strongest attack that does not know the defense", DECIBEL, ANY),
    "to_floor": Quantity("the same to the strongest floor, an attacker that needs no update beyond its label", DECIBEL, ANY),
    "to_control": Quantity("the same to the strongest control, one that reads the truth included", DECIBEL, ANY),
    "d_z": Quantity("psnr_change over its standard deviation", SHARE, ANY, "pairs"),
    "psnr_p": Quantity("p of psnr_change, Wilcoxon's signed-rank test", SHARE, P_VALUE, "pairs"),
    "psnr_holm": Quantity("psnr_p, adjusted by Holm over the table", SHARE, P_VALUE, "pairs"),
    "psnr_permutation_p": Quantity("p of psnr_change, sign-flip permutation test", SHARE, P_VALUE, "pairs"),
    "psnr_permutation_holm": Quantity("psnr_permutation_p, adjusted by Holm over the table", SHARE, P_VALUE, "pairs"),
    "ssim_p": Quantity("p of ssim_change, Wilcoxon's signed-rank test", SHARE, P_VALUE, "pairs"),
    "ssim_holm": Quantity("ssim_p, adjusted by Holm over the table", SHARE, P_VALUE, "pairs"),
    "lpips_p": Quantity("p of lpips_change, Wilcoxon's signed-rank test", SHARE, P_VALUE, "pairs"),
    "lpips_holm": Quantity("lpips_p, adjusted by Holm over the table", SHARE, P_VALUE, "pairs"),
    "lpips_vgg_p": Quantity("p of lpips_vgg_change, Wilcoxon's signed-rank test", SHARE, P_VALUE, "pairs"),
    "lpips_vgg_holm": Quantity("lpips_vgg_p, adjusted by Holm over the table", SHARE, P_VALUE, "pairs"),
    "pairs": Quantity("images that both sides of a difference reconstructed", COUNT, LEAST),
    "unpaired": Quantity("images that failed on either side", COUNT, LEAST),
    # chosen settings
    "trial_psnr": Quantity("mean PSNR of the trial's reconstructions of the simulated clients", DECIBEL, "up to 100, higher leaks more", "clients"),
    "chosen": Quantity("whether the attack took the settings of the trial", FLAG),
    "settings": Quantity("the settings that were tried", "text"),
    "clients": Quantity("simulated clients of the attacker", COUNT, LEAST),
    # counts
    "victims": Quantity("attacked clients", COUNT, LEAST),
    "scenes": Quantity("photographs, patients or subjects that the victims' images come from: the sampling unit", COUNT, LEAST),
    "rows": Quantity("attempted images", COUNT, LEAST),
    "failed": Quantity("attempted images without a reconstruction", COUNT, LEAST),
    "psnr_capped": Quantity("images whose PSNR counts as 100 dB", COUNT, LEAST),
    "attackers": Quantity("attacks among which the strongest was chosen", COUNT, LEAST),
    "adaptive_attackers": Quantity("attacks among them that know the defense", COUNT, LEAST, of=MODEL),
    "units": Quantity("victims or seeds that the comparison rests on", COUNT, LEAST),
    "without_value": Quantity("units of the comparison that failed", COUNT, LEAST),
    "status": Quantity("how the attack on the image ended", "text", "complete, failed"),
    "reason": Quantity("why it failed", "text"),
    # utility
    "accuracy": Quantity("mean test accuracy of the global model, of the last round where no round is named", SHARE, ACCURACY, "seeds", MODEL),
    "accuracy_change": Quantity("mean difference in accuracy to no defense, or to `against`, paired by seed", SHARE, CHANGE, "seeds", MODEL),
    "settled_accuracy": Quantity("mean test accuracy of the last three rounds, mean over seeds", SHARE, ACCURACY, "seeds", MODEL),
    "clipping_change": Quantity("difference in settled accuracy to the same clipping without noise, paired by seed", SHARE, CHANGE, "seeds", MODEL),
    "epsilon": Quantity("epsilon of one update at delta, by the Renyi accountant; inf without noise", SHARE, LEAST, of=MODEL),
    "epsilon_substitution": Quantity("the same where one image is replaced, which is what identification tells apart", SHARE, LEAST, of=MODEL),
    "epsilon_empirical": Quantity("epsilon that the successes of identification among the victims need, of the attacker with the highest limit; below its lower limit epsilon is not", SHARE, LEAST, of=MODEL),
    "epsilon_sound": Quantity("whether no attacker proves more than the account (0: mechanism or account is wrong)", FLAG, of=MODEL),
    "delta": Quantity("delta of the account", SHARE, "0 to 1", of=MODEL),
    "macro_f1": Quantity("mean over classes of F1, mean over seeds", SHARE, ACCURACY, "seeds", MODEL),
    "micro_f1": Quantity("F1 over all images, mean over seeds", SHARE, ACCURACY, "seeds", MODEL),
    "seeds": Quantity("trainings that ended", COUNT, LEAST, of=MODEL),
    "failed_seeds": Quantity("trainings that failed, left out of means", COUNT, LEAST, of=MODEL),
    # judgements
    "rank": Quantity("place among settings of equal accuracy, by the PSNR of the strongest attacker that all of them met; 1 leaks least", COUNT, "1 or more", of=CELL),
    "comparable": Quantity("whether the accuracy is shown to be within the margin of no defense (0: outside it; absent: neither is shown)", FLAG, of=CELL),
    "in_portfolio": Quantity("whether every ranked defense of the place met the attacker, so that it counts for ranks", FLAG),
    "verdict": Quantity("judgement of the protection by its worst case", "text", "survives, survives in part, does not survive, undecided, untested, baseline", of=CELL),
    "because": Quantity("what decides the verdict, or is not shown", "text", of=CELL),
    "order": Quantity("whether the published order of accuracies shows", "text", "holds, broken, undecided", of=NOISE),
    "explained": Quantity("victims whose models were explained", COUNT, LEAST),
    "cosine_received": Quantity("cosine of the received update to the one before the defense", SHARE, "-1 to 1", "explained"),
    "cosine_matched": Quantity("the same over the channels that the counter keeps", SHARE, "-1 to 1", "explained"),
    "energy_kept": Quantity("share of the true gradient's energy in these channels", SHARE, "0 to 1", "explained"),
    "detection_auc": Quantity("area under the ROC curve of finding noised channels by the norm of their update", SHARE, "0 to 1", "explained"),
    "at_gradient": Quantity("whether the cosine comes back above the predicted 0.9", "text", "confirmed, refuted"),
    "at_image": Quantity("whether the images come back", "text", "confirmed, in part, refuted, not shown"),
    # what a study can detect
    "comparisons": Quantity("comparisons of the family that Holm adjusts: defenses with each of their attackers", COUNT, LEAST),
    "spread": Quantity("standard deviation of paired differences in PSNR between victims", DECIBEL, LEAST),
    "detectable": Quantity("mean paired difference in PSNR that a t test over scenes finds with 80 % power after Holm, if victims of a scene share half of their variance", DECIBEL, LEAST, "scenes"),
    "detectable_at_worst": Quantity("the same if victims of one scene are all alike", DECIBEL, LEAST, "scenes"),
    "least_holm": Quantity("smallest p that an exact paired test can reach after Holm", SHARE, P_VALUE, "scenes"),
    "undetected": Quantity("share of identified victims that none identified does not exclude", SHARE, "0 to 1", "scenes"),
    # claims
    "paper": Quantity("paper of the claim", "text", of=OUTCOME),
    "cited": Quantity("document that states it", "text", of=OUTCOME),
    "place": Quantity("where in the document", "text", of=OUTCOME),
    "origin": Quantity("how the number was obtained", "text", "published, digitised, third_party, derived", of=OUTCOME),
    "statement": Quantity("what is claimed", "text", of=OUTCOME),
    "rule": Quantity("rule that decides the claim", "text", of=OUTCOME),
    "claim_verdict": Quantity("verdict on the claim", "text", "reproduced, weaker, not reproduced, undecided, not run", of=OUTCOME),
    "why": Quantity("reason of the verdict", "text", of=OUTCOME),
    "stand_in": Quantity("whether other data stood in for the claim's own", FLAG, of=OUTCOME),
    "deviations": Quantity("where the study departs from the paper", "text", of=OUTCOME),
    "published": Quantity("published value", AS_METRIC, ANY),
    "tolerance": Quantity("distance from it that still counts as equal", AS_METRIC, LEAST),
    "measured": Quantity("value or paired difference of the study", AS_METRIC, ANY, "units"),
    "part_verdict": Quantity("verdict on the comparison alone", "text"),
    "metric_change": Quantity("difference that the defense makes, published (limits: tolerance) or ours", AS_METRIC, ANY, "units"),
    "bar": Quantity("whether the published change is a lower bar", FLAG),
    # cost
    "iterations": Quantity("iterations of the attack as asked for, median", COUNT, LEAST),
    "restarts": Quantity("restarts of the attack as asked for, median", COUNT, "1 or more"),
    "evaluations": Quantity("model evaluations of one victim, restarts included, median", COUNT, LEAST),
    "attack_seconds": Quantity("wall-clock time of an attack's job on all victims of a cell, median", SECONDS, LEAST),
    "evaluation_seconds": Quantity("wall-clock time of one model evaluation of one victim, median", SECONDS, LEAST),
    "round_seconds": Quantity("wall-clock time of a federated round, median", SECONDS, LEAST),
    "round_ratio": Quantity("round_seconds over that without a defense", SHARE, LEAST),
    "memory": Quantity("largest resident set of any job, libraries included", "MiB", LEAST),
    "jobs": Quantity("jobs that ran", COUNT, LEAST),
    "failed_jobs": Quantity("jobs that failed", COUNT, LEAST),
    "total_seconds": Quantity("wall-clock time inside all jobs", SECONDS, LEAST),
    "median_seconds": Quantity("wall-clock time of the median job", SECONDS, LEAST),
    "longest_seconds": Quantity("wall-clock time of the longest job", SECONDS, LEAST),
    # metrics among themselves, explanations
    "correlation": Quantity("Spearman's rank correlation of two metrics, both turned so that more leaks more", SHARE, "-1 to 1", "victims"),
    "map_correlation": Quantity("correlation over pixels of a victim's class activation maps before and after the defense", SHARE, "-1 to 1"),
    "blank_before": Quantity("whether the map before the defense is blank", FLAG),
    "blank_after": Quantity("whether the map after the defense is blank", FLAG),
    "area_before": Quantity("mean area under the curve of the model before the defense", SHARE, "0 to 1", "victims"),
    "area_after": Quantity("the same after the defense", SHARE, "0 to 1", "victims"),
    "area_change": Quantity("paired difference of the two", SHARE, CHANGE, "victims"),
    "coefficient": Quantity("Grad-CAM coefficient of the channel, first victim", SHARE, ANY),
    "channel_change": Quantity("l2 norm of what the defense added to the channel's weights", SHARE, LEAST),
    "power_before": Quantity("mean power of the changed kernels at the frequency, before the defense", SHARE, LEAST),
    "power_after": Quantity("the same after the defense", SHARE, LEAST),
}  # fmt: skip


HEADINGS = ("name", "sort", "meaning", "unit", "values")


def identifiers() -> dict[str, Column]:
    """Return the identifiers, those of other distributions' figures last."""
    return IDENTIFIERS | {name: a for name, a in _added().items() if isinstance(a, Column)}


def quantities() -> dict[str, Quantity]:
    """Return the quantities, those of other distributions' figures last."""
    return QUANTITIES | {name: a for name, a in _added().items() if isinstance(a, Quantity)}


def check_columns(entry: Entry) -> None:
    """Refuse a figure that declares a column which has another meaning here or in another figure.

    Raises:
        StudyError: it does; the sentence names the figure and the column.
    """
    known = identifiers() | MEASUREMENT | quantities()
    for name, about in entry.columns.items():
        if known[name] != _declared(about):
            raise StudyError(
                f"{entry.name} of the distribution {entry.owner}: OWN_COLUMNS gives {name!r} a meaning, and another one "
                "stands in the column dictionary; choose another name"
            )


def _added() -> dict[str, Column | Quantity]:
    """Return the columns of other distributions' figures; of two with one name, the first."""
    added: dict[str, Column | Quantity] = {}
    for entry in catalogue.entries("figures").values():
        for name, about in entry.columns.items():
            if name not in {**IDENTIFIERS, **MEASUREMENT, **QUANTITIES}:
                added.setdefault(name, _declared(about))
    return added


def _declared(about: dict[str, str]) -> Column | Quantity:
    """Return what a figure declares: with a unit a quantity, else an identifier."""
    if "unit" not in about:
        return Column(about["meaning"], about.get("values", "text"))
    return Quantity(about["meaning"], about["unit"], about.get("values", ""), about.get("n", ""))


def dictionary() -> list[tuple[str, str, str, str, str]]:
    """Return the rows of the dictionary under `HEADINGS`; sort is 'identifier', 'measurement' or 'quantity'."""
    columns = [
        (name, sort, about.meaning, "", about.values)
        for sort, group in (("identifier", identifiers()), ("measurement", MEASUREMENT))
        for name, about in group.items()
    ]
    named = quantities().items()
    return columns + [(name, "quantity", q.meaning, q.unit, q.values) for name, q in named]
