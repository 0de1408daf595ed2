"""Claims, measurements and verdicts in words, the same in the report, the console and the data file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from gradsiege.analysis.claims.claim import Claim, table_of
from gradsiege.analysis.claims.comparisons import Part
from gradsiege.analysis.claims.evaluation import Outcome
from gradsiege.analysis.claims.verdicts import GRAVITY
from gradsiege.report.labels import label
from gradsiege.report.wording import joined, number

# By metric: name, factor, digits, unit of a value, unit of a difference.
SHOWN: dict[str, tuple[str, float, int, str, str]] = {
    "psnr": ("PSNR", 1, 2, " dB", " dB"),
    "psnr_sensitive_area": ("PSNR on sensitive areas", 1, 2, " dB", " dB"),
    "protected_psnr": ("PSNR of the protected image", 1, 1, " dB", " dB"),
    "protected_peak": ("peak of the noise", 1, 3, "", ""),
    "protected_rms": ("RMS of the noise", 1, 3, "", ""),
    "ssim": ("SSIM", 1, 3, "", ""),
    "ms_ssim": ("MS-SSIM", 1, 3, "", ""),
    "haarpsi": ("HaarPSI", 1, 3, "", ""),
    "lpips": ("LPIPS", 1, 3, "", ""),
    "lpips_vgg": ("LPIPS (VGG16)", 1, 3, "", ""),
    "ssim_on_normalised": ("SSIM on normalised images", 1, 3, "", ""),
    "lpips_on_normalised": ("LPIPS on normalised images", 1, 3, "", ""),
    "mse": ("MSE", 1, 4, "", ""),
    "identified": ("identified", 100, 0, " %", " points"),
    "label_accuracy": ("labels right", 100, 0, " %", " points"),
    "accuracy": ("accuracy", 100, 1, " %", " points"),
    "macro_f1": ("macro-F1", 100, 1, " %", " points"),
    "deletion_area": ("deletion area", 1, 3, "", ""),
    "insertion_area": ("insertion area", 1, 3, "", ""),
}
ORIGINS = {
    "published": "",
    "digitised": "read off a figure",
    "third_party": "reported by others",
    "derived": "follows from published constants",
}
ARMS = {"faithful": "as described", "as_released": "as released"}


def claimed(claim: Claim, metric: str, value: float | None, *, paired: bool) -> str:
    """Return the claimed value of a part with its tolerance.

    >>> from gradsiege.analysis.claims.claim import Selector
    >>> claim = Claim.model_construct(rule="value_within", tolerance={"psnr": 1.0}, direction=None)
    >>> claimed(claim, "psnr", 16.12, paired=False)
    'PSNR 16.12 ± 1.00 dB'
    """
    name, factor, digits, unit, points = SHOWN[metric]
    unit = points if paired else unit
    paired = paired and claim.rule not in ("difference_sign", "ordering")
    name = f"Δ {name}" if paired else name
    tolerance = factor * claim.tolerance_of(metric)
    size = "" if value is None else number(factor * value, digits)
    margin = f"{number(tolerance, digits)}{unit}"
    if claim.rule == "value_within":
        return f"{name} {size} ± {margin}"
    if claim.rule in ("at_most", "at_least"):
        slack = f" (tolerance {margin})" if tolerance else ""
        return f"{name} {'≤' if claim.rule == 'at_most' else '≥'} {size}{unit}{slack}"
    if claim.rule == "equivalent":
        return f"|{name}| < {margin}"
    way = f"{name} {claim.direction or 'higher'}"
    return f"{way} by {size}{unit} (± {margin})" if size else f"{way} ({margin} and more count)"


def measured(part: Part) -> str:
    """Estimate, 95 % interval and number of units of one part."""
    _, factor, digits, unit, points = SHOWN[part.comparison.metric]
    interval, paired = part.interval, part.comparison.against is not None
    limits = ""
    if not math.isnan(interval.low):
        low, high = (number(factor * end, digits) for end in (interval.low, interval.high))
        limits = f" [{low}, {high}]"
    units = "seeds" if table_of(part.comparison.metric) == "utility" else "victims"
    units = units.removesuffix("s") if interval.units == 1 else units
    lost = f", {part.lost} without a value" if part.lost else ""
    value = number(factor * interval.estimate, digits)
    unit = points if paired else unit
    return f"{value}{unit}{limits}, {interval.units} {units}{lost}"


def part_names(parts: Sequence[Part]) -> list[str]:
    """Return the names that distinguish the parts of an outcome; a part with a reference names it."""
    varied = [
        field
        for field in dict.fromkeys(name for part in parts for name in part.ids)
        if field not in ("dataset", "model") and len({part.ids.get(field) for part in parts}) > 1
    ]
    names = []
    for part in parts:
        told = [label(part.ids[field]) for field in varied if field in part.ids]
        turn = part.comparison.cells.round
        told += [f"round {turn}"] if turn is not None else []
        reference_names = [
            label(part.ids[field]) for field in part.reference if field not in varied
        ]
        other = joined(label(value) for value in part.reference.values())
        told += [*reference_names, f"against {other}"] if other else []
        names.append(", ".join(told).replace(", against", " against"))
    return names


def place(outcome: Outcome) -> str:
    """Return where a claim was tested: data, model, and the arm of a method with several arms."""
    told = [label(outcome.dataset), label(outcome.model), ARMS.get(outcome.arm, "")]
    return ", ".join(filter(None, told)) if outcome.dataset else ""


def reasons(outcome: Outcome) -> str:
    """Return the reason of a verdict, then every change of the claim's rule with its date."""
    changes = [f"rule changed {change.date}: {change.reason}" for change in outcome.claim.changed]
    return "; ".join(filter(None, [outcome.why, *changes]))


def tally(outcomes: Sequence[Outcome]) -> str:
    """Return the number of verdicts of each kind, in one sentence.

    >>> tally([])
    'The ledger holds no claim.'
    """
    if not outcomes:
        return "The ledger holds no claim."
    claims = len({outcome.claim.id for outcome in outcomes})
    counts = Counter(outcome.shown_verdict for outcome in outcomes)
    order = sorted(counts, key=lambda parts: (parts.partition(" (")[0] == "not run", *_rank(parts)))
    parts = joined(f"{counts[verdict]} {verdict}" for verdict in order)
    return f"The ledger holds {claims} claim{'' if claims == 1 else 's'}; verdicts: {parts}."


def _rank(words: str) -> tuple[int, int]:
    verdict, mark, _ = words.partition(" (")
    order: dict[str, int] = {name: place for place, name in enumerate(GRAVITY)}
    return order[verdict], len(mark)
