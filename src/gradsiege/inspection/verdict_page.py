"""The page of verdicts: every claim of the ledger once, with the best evidence of all kept studies (docs/results/VERDICTS.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from gradsiege.analysis.claims.claim import Claim, Selector
from gradsiege.analysis.claims.selection import words
from gradsiege.inspection.kept_evidence import NAME, Evidence, Measurement, by_claim
from gradsiege.report.claim_words import ARMS, SHOWN, claimed
from gradsiege.report.labels import label
from gradsiege.report.wording import joined, number
from gradsiege.study.ledger import load

ORDER = ("reproduced", "weaker", "undecided", "not reproduced")
SHOWN_PARTS = 3  # comparisons of one claim in one cell of the page
INTRODUCTION = """# Verdicts on the published claims

`gradsiege claims --kept` writes this page from the tables of the kept studies; `make keep` does so after each study. Every claim of
[the ledger](../../config/claims.yaml) stands here once, with its best evidence: more than one unit before one alone, which gives no
interval, then the claim's own data before data that stand in for them, then fewer deviations from the source's setting, then more units,
then the study's name. No part of that order looks at the verdict. Differences are judged from their kept intervals by the rule of today. Where other kept studies disagree, the line says so. A value is the mean with its 95 % interval; n counts independent victims (scenes),
or seeds for accuracy. How a claim is judged: [docs/ARTIFACT.md](../ARTIFACT.md)."""


def page(ledger: Path, kept: Path) -> str:
    """Return the page as Markdown.

    ledger: the file of claims; kept: the folder of kept studies. Raises StudyError if the ledger cannot be read.
    """
    claims = load(ledger)
    evidence = by_claim(claims, kept)
    parts = [INTRODUCTION, _tally(claims, evidence), *_unheard(kept)]
    for paper in dict.fromkeys(claim.paper for claim in claims):
        of_paper = [claim for claim in claims if claim.paper == paper]
        tested = [claim for claim in of_paper if evidence[claim.id]]
        waiting = [claim for claim in of_paper if not evidence[claim.id]]
        parts.append(f"## {paper}")
        if tested:
            parts.append(_tested(tested, evidence))
        if waiting:
            parts.append(_waiting(waiting))
    return "\n\n".join(parts) + "\n"


def _tally(claims: Sequence[Claim], evidence: Mapping[str, Sequence[Evidence]]) -> str:
    verdicts = Counter(evidence[claim.id][0].verdict for claim in claims if evidence[claim.id])
    counts = [f"{verdicts[name]} {name}" for name in ORDER if verdicts[name]]
    unrun = len(claims) - verdicts.total()
    return f"Of {len(claims)} claims, {joined([*counts, f'{unrun} not run'])}."


def _unheard(kept: Path) -> list[str]:
    """Return a sentence on the kept studies that have no table of claims, if there are any."""
    studies = sorted(record.parent.name for record in kept.glob("*/run.json"))
    silent = [name for name in studies if not (kept / name / NAME).is_file()]
    if not silent:
        return []
    return [
        f"Kept before claims were judged at every run, and so not heard here: {joined(silent)}."
    ]


def _tested(claims: Sequence[Claim], evidence: Mapping[str, Sequence[Evidence]]) -> str:
    rows = [_row(claim, evidence[claim.id]) for claim in claims]
    return _table(["claim", "verdict", "claimed", "measured", "evidence"], rows)


def _row(claim: Claim, evidence: Sequence[Evidence]) -> list[str]:
    best, *others = evidence
    said = f"**{best.verdict}**" + best.said.removeprefix(best.verdict)
    later = [change.date for change in claim.changed if change.date > best.judged.isoformat()]
    if later:
        said += f"; by the rule before its change of {later[-1]}"
    # The comparisons that decided come first.
    deciding = sorted(best.measured, key=lambda part: part.verdict != best.verdict)
    held = dict.fromkeys(_claimed(claim, part) for part in deciding)
    lines = [_measured(part, deciding) for part in deciding]
    if len(lines) > SHOWN_PARTS:
        lines = [*lines[:SHOWN_PARTS], f"and {len(lines) - SHOWN_PARTS} more"]
    return [
        f"`{claim.id}`: {claim.statement}",
        said,
        "<br>".join([*held][:SHOWN_PARTS]),
        "<br>".join(lines),
        _where(best, others),
    ]


def _claimed(claim: Claim, part: Measurement) -> str:
    return claimed(claim, part.metric, part.published, paired="against" in part.cell)


def _measured(part: Measurement, parts: Sequence[Measurement]) -> str:
    """Return the comparison's distinguishing names, the value, its interval and n."""
    _, factor, digits, unit, points = SHOWN[part.metric]
    varied = [
        name
        for name in part.cell
        if name == "against" or len({other.cell.get(name) for other in parts}) > 1
    ]
    names = [
        ("against " if name == "against" else "round " if name == "round" else "")
        + label(part.cell[name])
        for name in varied
    ]
    value, low, high = (number(factor * end, digits) for end in (part.value, part.low, part.high))
    limits = "" if part.low != part.low else f" [{low}, {high}]"
    unit = points if "against" in part.cell else unit
    head = f"{', '.join(names)}: " if names else ""
    return f"{head}{value}{unit}{limits}, n = {part.units}"


def _where(best: Evidence, others: Sequence[Evidence]) -> str:
    place = ", ".join(
        filter(None, [label(best.dataset), label(best.model), ARMS.get(best.arm, "")])
    )
    text = f"[{best.study}]({best.study}/README.md): {place}"
    if best.deviations:
        text += f"; {'; '.join(best.deviations)}"
    if best.why:
        text += f". {best.why}"
    apart = Counter(other.verdict for other in others if other.verdict != best.verdict)
    if apart:
        text += f". Elsewhere: {joined(f'{count} {name}' for name, count in apart.items())}"
    return text


def _waiting(claims: Sequence[Claim]) -> str:
    rows = [[f"`{claim.id}`: {claim.statement}", waits_for(claim)] for claim in claims]
    return _table(["not run", "waits for a kept study with"], rows)


def waits_for(claim: Claim) -> str:
    """Return what a study must have to test a claim, as far as the ledger says it; a claim that transfers waits for no setting.

    >>> from gradsiege.analysis.claims.claim import Selector
    >>> needs = Selector(dataset={"name": "cifar10", "size": 32}, model={"name": "resnet18"})
    >>> waits_for(Claim.model_construct(needs=needs, cells=Selector(), transfers=False, against=[], arms=[], points=[]))
    'data set cifar10 with size 32; model resnet18'
    """
    wanted = {} if claim.transfers else _named(claim.needs)
    wanted |= _named(claim.cells)
    references = [*claim.against, *claim.arms, *(point.at for point in claim.points)]
    for field in ("defense", "attack"):
        names = [_named(selector)[field] for selector in references if field in _named(selector)]
        if names:
            wanted[field] = joined(dict.fromkeys([*filter(None, [wanted.get(field)]), *names]))
    return "; ".join(wanted.values())


def _named(selector: Selector) -> dict[str, str]:
    return {name: words(name, item) for name, item in selector.given().items()}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Escape what would end a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
