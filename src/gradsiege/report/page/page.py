"""The report: one HTML file that a reviewer can read without the repository, or the network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gradsiege.pipeline.drawings import DICTIONARY, data_file
from gradsiege.report import provenance
from gradsiege.report.columns import HEADINGS, dictionary
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.page.captions import Caption, caption
from gradsiege.report.page.claims_section import section
from gradsiege.report.page.data_card import data_card
from gradsiege.report.page.findings import Finding, findings
from gradsiege.report.page.inline import image_address, width_in_pixels
from gradsiege.report.page.overview import by_reason, coverage, facts, unlisted
from gradsiege.report.tables import table_compute
from gradsiege.report.tidy import tidy
from gradsiege.report.wording import synthetic_note, threat_in_words

if TYPE_CHECKING:
    from markupsafe import Markup

READING_ORDER = (
    "headline",
    "table_headline",
    "reconstructions",
    "gallery",
    "table_attacks",
    "training_stage",
    "batch_norm_labels",
    "attack_defense_heatmap",
    "identification_curves",
    "metric_agreement",
    "privacy_utility",
    "privacy_utility_curves",
    "table_defenses",
    "budget_curves",
    "table_tip_cosine",
    "table_utility",
    "utility_curve",
    "published_tip",
    "published_shadow",
    "published_gifd",
    "table_power",
    "table_tuning",
    "table_costs",
)
IN_COMPUTE = "table_compute"
# Drawn in sections of their own, not among the results.
ELSEWHERE = (IN_COMPUTE, "table_claims")
MOST_DATA_ROWS = 60
# A longer cell is wrapped, since a sentence in one line would push the next columns off the page.
SENTENCE = 60
# A cell that begins like a number: sign, digits, a dash for none.
_NUMBER = re.compile(r"^([+−<]?\s?\d|–$|baseline$|∞)")


@dataclass(frozen=True)
class Cells:
    """A table ready for the page: headings, which of them are numeric, rows of text, which columns hold sentences."""

    headings: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    quiet: frozenset[int] = frozenset()
    prose: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Exhibit:
    """One figure or table of the report."""

    name: str
    number: str
    title: str
    caption: Caption
    alt: str
    command: str
    image: str
    width: int
    table: Cells | None
    data: Cells | None
    left_out: int
    csv: str


@dataclass(frozen=True)
class Evidence:
    """A sentence with a link to its rows: a place on this page, or the command that tabulates them."""

    topic: str
    sentence: str
    place: str
    text: str
    words: str
    command: str


def render(data: StudyData, drawn: Mapping[str, Drawn], commands: Mapping[str, str]) -> str:
    """Return the report as one HTML document.

    drawn: figures and tables by file name; commands: for each, the command that makes it again
    ("all" and "report" are shown at the head, if given). Everything is inlined, everything that
    comes from the study is escaped, and no date enters: the same input gives the same bytes.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typeset"] = typeset
    environment.filters["breakable"] = breakable
    environment.filters["capitalise"] = lambda text: text[:1].upper() + text[1:]
    template = environment.get_template("report.html.j2")
    return template.render(context(data, drawn, commands))


def typeset(text: str) -> str:
    """Keep a number, its unit and its interval on one line.

    >>> typeset("27.3 dB [25.1, 29.0]").replace(chr(160), "~")
    '27.3~dB~[25.1,~29.0]'
    """
    text = re.sub(r"(?<=\d) (?=(?:dB|%|s|min|h|px|victims)\b|%)", "\u00a0", text)
    text = re.sub(r"\bn = (?=\d)", "n\u00a0=\u00a0", text)
    text = re.sub(r"(?<=[\dB%]) (?=\[)", "\u00a0", text)
    return re.sub(r"(\[[^\[\], ]+,) (?=[^\[\], ]+\])", "\\1\u00a0", text)


def breakable(text: str) -> Markup:
    """Allow line breaks after the slashes of a path, without changing the text that a reader copies.

    >>> str(breakable("results/<x>"))
    'results/<wbr>&lt;x&gt;'
    """
    from markupsafe import Markup, escape

    return Markup(str(escape(text)).replace("/", "/<wbr>"))


def context(
    data: StudyData, drawn: Mapping[str, Drawn], commands: Mapping[str, str]
) -> dict[str, Any]:
    """Return all values for the template."""
    compute = drawn.get(IN_COMPUTE) or table_compute.draw(data)
    shown = exhibits(drawn, commands, data)
    sentences = [evidence(finding, shown, commands) for finding in findings(data)]
    tables = sum(1 for exhibit in shown if exhibit.table)
    return {
        "study": str(data.study.get("study", "study")),
        "description": str(data.study.get("description", "")),
        "coverage": coverage(data),
        "lead": sentences[0],
        "findings": sentences[1:],
        "facts": facts(data),
        "exhibits": shown,
        "claims": section(data),
        "compute": _exhibit(IN_COMPUTE, f"Table {tables + 1}", compute, commands, data),
        "threats": [
            {"id": str(threat.get("id", "")), "sentences": threat_in_words(threat)}
            for threat in data.threat_models
        ],
        "cards": [
            data_card(name, card, _folder(data), commands) for name, card in data.cards.items()
        ],
        "not_run": by_reason(data.not_run),
        "absent": provenance.absent_metrics(data.manifests),
        "failed_jobs": unlisted(provenance.failed_jobs(data.manifests), data.not_run),
        "deviations": data.deviations,
        "versions": provenance.versions(data.manifests),
        "commits": provenance.commits(data.manifests),
        "commands": commands,
        "columns": table_cells(pd.DataFrame(dictionary(), columns=HEADINGS)),
        "files": {
            "scores": f"{_folder(data)}/score/…/scores.parquet",
            "claims": f"{_folder(data)}/{data_file('table_claims')}",
            "columns": f"{_folder(data)}/{DICTIONARY}",
            "manifests": f"{_folder(data)}/…/manifest.json",
        },
        "settings": json.dumps(dict(data.study), indent=2, ensure_ascii=False, default=str),
    }


def evidence(finding: Finding, shown: Iterable[Exhibit], commands: Mapping[str, str]) -> Evidence:
    """Return the evidence for a sentence: the first of its exhibits that the report has, else a command."""
    numbers = {exhibit.name: exhibit.number for exhibit in shown} | {"claims": "Claims"}
    place = next((name for name in finding.exhibits if name in numbers), "")
    return Evidence(
        topic=finding.topic,
        sentence=finding.sentence,
        place=place,
        text=numbers.get(place, ""),
        words=finding.words,
        command="" if place else commands.get(finding.exhibits[0], ""),
    )


def exhibits(
    drawn: Mapping[str, Drawn], commands: Mapping[str, str], data: StudyData
) -> list[Exhibit]:
    """Figures and tables in reading order, numbered; unknown ones follow in the order given."""
    known = [name for name in READING_ORDER if name in drawn]
    others = [name for name in drawn if name not in (*READING_ORDER, *ELSEWHERE)]
    counts = {"Figure": 0, "Table": 0}
    numbered = []
    for name in known + others:
        sort = "Table" if drawn[name].figure is None else "Figure"
        counts[sort] += 1
        numbered.append(_exhibit(name, f"{sort} {counts[sort]}", drawn[name], commands, data))
    return numbered


def _exhibit(
    name: str, number: str, drawn: Drawn, commands: Mapping[str, str], data: StudyData
) -> Exhibit:
    is_table = drawn.figure is None
    shown = drawn.shown if drawn.shown is not None else pd.DataFrame()
    plotted = pd.DataFrame() if is_table else tidy(drawn.data)
    return Exhibit(
        name=name,
        number=number,
        title=drawn.title,
        caption=caption(drawn.caption, _always(drawn, data)),
        alt=drawn.alt or f"{drawn.title}. {drawn.caption}",
        command=commands.get(name, ""),
        image="" if drawn.figure is None else image_address(drawn.figure),
        width=0 if drawn.figure is None else width_in_pixels(drawn.figure),
        table=table_cells(shown, drawn.quiet) if is_table else None,
        data=None if is_table else table_cells(plotted.head(MOST_DATA_ROWS)),
        left_out=max(0, len(plotted) - MOST_DATA_ROWS),
        csv=f"{_folder(data)}/{data_file(name)}",
    )


def _always(drawn: Drawn, data: StudyData) -> str:
    """Return the sentence of a caption that is never folded: that images are synthetic."""
    table = drawn.data if "dataset" in drawn.data else data.scores
    return synthetic_note(data, map(str, table["dataset"].dropna()))


def _folder(data: StudyData) -> str:
    return f"results/{data.study.get('study', 'study')}"


def table_cells(table: pd.DataFrame, quiet: Iterable[int] = ()) -> Cells:
    """Return the text of a table; a column is numeric if all its cells begin like a number."""
    rows = [[_text(value) for value in line] for line in table.itertuples(index=False)]
    headings = [str(column).strip() for column in table.columns]
    columns = list(zip(*rows, strict=True)) or [()] * len(headings)
    numeric = [bool(column) and all(_NUMBER.match(text) for text in column) for column in columns]
    prose = [
        place for place, column in enumerate(columns) if any(len(t) > SENTENCE for t in column)
    ]
    return Cells(headings, numeric, rows, frozenset(quiet), frozenset(prose))


def _text(value: Any) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
