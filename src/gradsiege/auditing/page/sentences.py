"""What an audit found, in sentences; every number in them stands in a table of the page."""

from __future__ import annotations

import math

from gradsiege.auditing.findings import LEAKS, NO_LEAK, Finding
from gradsiege.auditing.portfolio import AWARE
from gradsiege.auditing.result import Result
from gradsiege.auditing.situations import NONE
from gradsiege.auditing.words import attacker_in_words, training_in_words
from gradsiege.ranges import counted

DASH = "–"
# Verdicts by the colour of their label: what leaks, what holds, and what is not known.
CHIPS = {LEAKS: "bad", "does not survive": "bad", "survives in part": "weak", "survives": "good"}


def number(value: float, digits: int = 1) -> str:
    """Return a number, or a dash if there is none.

    >>> number(3.14159), number(float("nan"))
    ('3.1', '–')
    """
    return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else DASH


def interval(value: float, low: float, high: float, digits: int = 1) -> str:
    """Return a number with its limits, if there are any.

    >>> interval(20.0, 18.5, 21.2), interval(20.0, float("nan"), float("nan"))
    ('20.0 [18.5, 21.2]', '20.0')
    """
    limits = f" [{number(low, digits)}, {number(high, digits)}]"
    return number(value, digits) + (limits if math.isfinite(low) and math.isfinite(high) else "")


def percent(value: float) -> str:
    """Return a share in percent; a share above nothing never reads as nothing.

    >>> percent(0.5), percent(0.004), percent(0.0)
    ('50 %', '< 1 %', '0 %')
    """
    if not math.isfinite(value):
        return DASH
    return "< 1 %" if 0 < value < 0.01 else f"{100 * value:.0f} %"


def situation_in_words(finding: Finding, several_stages: bool) -> str:
    """Return what tells a situation from the others of the audit."""
    place = finding.situation
    parts = [training_in_words(place.training)]
    if several_stages:
        parts.insert(0, f"stage {place.stage}")
    parts.append("no defense" if place.name == NONE else place.name)
    return ", ".join(parts)


def lead(audit: Result) -> list[str]:
    """Return the sentences at the head of the page."""
    worst = audit.worst
    if not math.isfinite(worst.psnr.estimate):
        return [f"No attack finished: {worst.because}."]
    tested = (
        "without a defense" if worst.situation.name == NONE else f"under {worst.situation.name}"
    )
    sentences = [
        f"The strongest attacker {tested} ({attacker_in_words(worst.attacker[0])}) recovers "
        f"{counted(worst.pictures, 'picture')} of {counted(worst.clients, 'client')} at "
        f"{interval(worst.psnr.estimate, worst.psnr.low, worst.psnr.high)} dB on average. {_floor(worst)}",
        _left_out(audit.left_out, _too_low(worst.verdict, len(audit.judged))),
        _left_out(
            audit.left_out_undefended,
            "The verdict may be wrong: {} on no defense did not fit into the time of the budget ({}), so that the defense was compared with "
            "the others alone.",
        ),
        _identified(worst),
    ]
    if math.isfinite(worst.labels):
        sentences.append(f"The update gives away {percent(worst.labels)} of the pictures' labels.")
    if worst.highest[1] >= 0:
        sentences.append(
            f"The picture that is recovered best ({_told(audit, worst.highest[1])}) reaches {number(worst.highest[0])} dB."
        )
    return [sentence for sentence in sentences if sentence]


def _told(audit: Result, picture: int) -> str:
    return audit.name_of(picture) if audit.names else f"number {picture}"


def _too_low(verdict: str, judged: int) -> str:
    """Return what attacks without time mean; no verdict is worse than a leak, so that such a one is not too mild."""
    mild = "" if CHIPS.get(verdict) == "bad" else ", or the verdict too mild"
    place = "the judged situation" if judged == 1 else "every judged situation"
    return f"The number may be too low{mild}: {{}} did not fit into the time of the budget in {place} ({{}})."


def _left_out(names: list[str], sentence: str) -> str:
    """Return the sentence with the number and the names of attackers that did not fit into the time; empty without any."""
    words = "; ".join(map(attacker_in_words, names))
    return sentence.format(counted(len(names), "attack"), words) if names else ""


def _floor(finding: Finding) -> str:
    if not math.isfinite(finding.floor):
        return ""
    return (
        f"The best guess that needs no update beyond its label reaches {number(finding.floor)} dB."
    )


def _identified(finding: Finding) -> str:
    rate = finding.identified
    if not math.isfinite(rate.estimate):
        return ""
    limits = (
        f" (95 % interval {percent(rate.low)} to {percent(rate.high)})"
        if math.isfinite(rate.low)
        else ""
    )
    return (
        f"{attacker_in_words(finding.identifier[0])} tells {percent(rate.estimate)}{limits} of the pictures from all others of a "
        f"gallery; a guess tells {percent(rate.chance)}."
    )


def judgement(finding: Finding) -> str:
    """Return the verdict on a situation as a sentence."""
    return f"{finding.verdict.capitalize()}: {finding.because}."


def knows(threat: str) -> str:
    """Return what an attacker knows beside the update, as a cell of a table."""
    return "the defense" if threat in AWARE else "no defense"


def limits(audit: Result) -> list[str]:
    """Return what the audit does not show, in plain words."""
    first = audit.findings[0]
    told = [
        "A verdict other than a leak means that the attacks that ran, with the time that they had, did not succeed. It does not mean "
        "that no attack can. Attacks get better; data that were sent stay sent.",
        "Clients were simulated: plain gradient steps, as stated below, on pictures in a fixed order. Momentum, weight decay, other "
        "optimizers, augmentation and secure aggregation were not.",
        f"The numbers hold for {counted(first.pictures, 'picture')}, chosen class after class. Other pictures may be easier to recover; "
        "the worst single picture is in the tables.",
        "PSNR and SSIM can be low although a person recognises the picture. Look at the gallery, and at the identification rate.",
        f"The attacker's own pictures were {audit.about['auxiliary']}. An attacker with pictures like the private ones does better.",
        "The server is honest but curious: it does not change the network in order to see more. A malicious server sees more.",
    ]
    if audit.costs:
        told.append(
            "What a defense costs is measured in one round. It is not the accuracy that a federation reaches under it after many rounds."
        )
    if any(one.verdict == NO_LEAK for one in audit.findings):
        told.append(
            "No leak shown is a statement about so many pictures: with few, only a large leak can be shown."
        )
    return told
