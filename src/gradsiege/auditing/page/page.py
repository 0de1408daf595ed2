"""Rendering the page of an audit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gradsiege.auditing.document import not_run
from gradsiege.auditing.page.chart import chart
from gradsiege.auditing.page.gallery import gallery
from gradsiege.auditing.page.sentences import (
    CHIPS,
    DASH,
    interval,
    judgement,
    lead,
    limits,
    number,
    situation_in_words,
)
from gradsiege.auditing.page.series import series
from gradsiege.auditing.page.tables import (
    attackers_table,
    defenses_table,
    pictures_table,
    situations_table,
)
from gradsiege.auditing.result import Result
from gradsiege.auditing.settings import note
from gradsiege.auditing.words import attacker_in_words, lasting, training_in_words
from gradsiege.extras import need
from gradsiege.ranges import counted

TEMPLATES = Path(__file__).parent / "templates"
# The report's style sheet serves the audit's page, too.
REPORT = Path(__file__).parents[2] / "report" / "page" / "templates"


def render(audit: Result, pictures: bool = True) -> str:
    """Return the page as one HTML document.

    Args:
        pictures: whether it shows private pictures and reconstructions.
    """
    return rendered("audit.html.j2", context(audit, pictures))


def rendered(template: str, values: dict[str, Any]) -> str:
    """Return a template of this folder with its values, all text escaped.

    Raises:
        MissingError: Jinja is not installed.
    """
    need("jinja2")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, REPORT]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def context(audit: Result, pictures: bool) -> dict[str, Any]:
    """Return all values of the template."""
    worst, findings = audit.worst, audit.findings
    several = len({one.situation.stage for one in findings}) > 1
    labels = [situation_in_words(one, several) for one in findings]
    return {
        "title": f"{audit.about['network']}: {worst.verdict}",
        "network": audit.about["network"],
        "chip": CHIPS.get(worst.verdict, "undecided"),
        "verdict": worst.verdict,
        "decibel": number(worst.psnr.estimate),
        "limits_of_decibel": interval(math.nan, worst.psnr.low, worst.psnr.high)
        .removeprefix(DASH)
        .strip(),
        "lead": lead(audit),
        "judgements": [
            (label, judgement(one)) for label, one in zip(labels, findings, strict=True)
        ],
        "chart": chart(findings, labels),
        "situations": situations_table(findings, labels),
        "series": series(findings),
        "defenses": defenses_table(audit),
        "unmeasured": [(cost.defense, cost.reason) for cost in audit.costs if cost.reason],
        "attackers": [
            attackers_table(audit, one, label) for one, label in zip(findings, labels, strict=True)
        ],
        "pictures": pictures_table(audit, worst),
        "gallery": gallery(audit) if pictures else None,
        "not_run": reasons(audit),
        "limits": limits(audit),
        "facts": facts(audit),
        "remarks": audit.about["remarks"],
        "settings": note(audit.plan),
        "notes": audit.plan.notes,
    }


def reasons(audit: Result) -> list[tuple[str, str]]:
    """Return what did not run: attackers by name, and why; equal reasons are told once."""
    groups: dict[str, dict[str, None]] = {}
    for item in not_run(audit):
        groups.setdefault(item["reason"], {})[attacker_in_words(item["attacker"])] = None
    return [("; ".join(names), reason) for reason, names in groups.items()]


def facts(audit: Result) -> list[tuple[str, str]]:
    """Return the inputs as pairs of a term and its value."""
    about, plan, place = audit.about, audit.plan, audit.findings[0].situation
    channels, height, width = about["image_shape"]
    return [
        (
            "Network",
            f"{about['network']}, {about['parameters']:,} parameters, {about['classes']} classes",
        ),
        ("Stages", ", ".join(about["stages"])),
        (
            "Pictures",
            f"{plan.size.pictures} of {about['pictures_given']}, {height} × {width} px, {'grey' if channels == 1 else 'colour'}",
        ),
        (
            "Clients",
            f"{training_in_words(place.training)}, learning rate {place.training.learning_rate:g}, {place.training.mode} mode",
        ),
        ("Gallery", f"{about['gallery']} pictures"),
        ("Attacker's pictures", about["auxiliary"]),
        (
            "Budget",
            f"{plan.budget.name}: {counted(plan.size.iterations, 'iteration')}, {counted(plan.budget.restarts, 'start')}",
        ),
        (
            "Time",
            f"{lasting(audit.seconds)} of attacks on {about['device']}, expected {lasting(plan.seconds)}",
        ),
        ("Software", f"gradsiege {about['version']}, seed {about['seed']}"),
    ]
