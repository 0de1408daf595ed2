"""A page states no duration of a command or a study that is neither an estimate nor that of a kept row (`benchmarks/durations.csv`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime

import pytest
import yaml
from code_blocks import ROOT, pages

from benchmarks import costs_table
from benchmarks.costs_table import DEFAULT, Duration, durations
from benchmarks.markers import by_hand
from gradsiege.auditing.budget import BUDGETS
from gradsiege.tracking.follow import LONGEST_WAIT, SECONDS_TO_DRAW

SLURM = ROOT / "profiles/slurm/workflow.yaml"

NUMBER = (
    r"(?:\d[\d.,]*|an?|one|two|three|four|five|six|seven|eight|nine|ten|fifteen|twenty|thirty|half an?"
    r"|(?:a|three) quarters? of an|several|(?:a )?few)"
)
# "A second call" counts calls: "a second" is a time where its clause ends.
UNIT = r"(?:(?:milliseconds?|seconds|minutes?|hours?|days?|weeks?)\b|second\b(?= of\b|[^\w\s]|$))"
DURATION = re.compile(
    rf"(?<![\w.]){NUMBER}(?:(?: to | or |-){NUMBER})?[ -]{UNIT}"
    r"|(?<![\w.])\d[\d.,]*(?: to \d[\d.,]*)? (?:ms|s|min|h)(?![\w-])",
    re.IGNORECASE,
)
ESTIMATE = re.compile(r"\b(?:estimated|an estimate|estimate:)")
# Made from the ledger, and a history.
LEFT_OUT = {"docs/results/VERDICTS.md", "CHANGELOG.md"}
# Sentences by hand that state the range of a row's times, in whole minutes.
TIED = {
    ("README.md", "5 to 10 minutes"): (DEFAULT, "`snakemake --cores 2`, the same study by itself")
}
# Durations that the program decides, in seconds.
DECIDED = {
    ("docs/AUDIT.md", "7 minutes"): BUDGETS["quick"].seconds,
    ("docs/AUDIT.md", "2 hours"): BUDGETS["standard"].seconds,
    ("docs/AUDIT.md", "12 hours"): BUDGETS["thorough"].seconds,
    ("docs/RUNNING.md", "an hour"): 60.0 * yaml.safe_load(SLURM.read_text())["shard_minutes"],
    ("docs/TRACKING.md", "ten minutes"): SECONDS_TO_DRAW,
    ("docs/TRACKING.md", "30 seconds"): LONGEST_WAIT,
}
# Other durations that nobody measured, each with its reason.
ALLOWED = {
    ("SECURITY.md", "two weeks"): "a promise of people",
    ("docs/ARTIFACT.md", "8 s"): "a limit that tests/report/test_figure_drawing.py holds",
    ("docs/AUDIT.md", "a minute"): "a bound: attacks/progress.py saves twice as often",
    ("docs/SPEED.md", "25 minutes"): "a limit that tests/attacks/engine/test_benchmarks.py holds",
}
COUNTS = {"an": 1, "ten": 10}
SECONDS = {"seconds": 1, "minutes": 60, "hour": 3600, "hours": 3600}


def pieces(text: str) -> Iterator[str]:
    """Yield the sentences and table cells that were written by hand, each on one line."""
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*] |\|))|(?<!\\)\|", by_hand(text)):
        flat = " ".join(paragraph.split())
        yield from re.split(r"(?<=[.!?;]) (?=[A-Z*`\[])", flat)


def stated(text: str) -> Iterator[tuple[str, str]]:
    """Yield (duration, its sentence or cell) for all that no word marks as an estimate."""
    for piece in pieces(text):
        if not ESTIMATE.search(piece):
            yield from ((match[0], piece) for match in DURATION.finditer(piece))


def of_study(study: str, duration: str, piece: str) -> bool:
    """Whether a kept study took so long: all its jobs together, or the whole of it."""
    if f"{duration} of jobs" in piece:
        return duration == costs_table.jobs(f"{study}.yaml").replace("min", "minutes")
    whole = [row.seconds / 60 for row in durations() if row.what == f"`{study}.yaml`"]
    return duration in {f"{minutes:g} minutes" for minutes in whole}


def untied(page: str, text: str) -> list[str]:
    """Return the durations of a page that nothing backs."""
    study = re.fullmatch(r"docs/results/(\w+)/README\.md", page)
    return [
        duration
        for duration, piece in stated(text)
        if (page, duration) not in TIED | DECIDED | ALLOWED
        and not (study and of_study(study[1], duration, piece))
    ]


NAMES = sorted({str(path.relative_to(ROOT)) for path in pages()} - LEFT_OUT)


@pytest.mark.parametrize("page", NAMES)
def test_every_duration_is_an_estimate_or_of_a_row(page: str) -> None:
    assert untied(page, (ROOT / page).read_text(encoding="utf-8")) == []


def test_a_range_is_that_of_its_row() -> None:
    for (_, phrase), what in TIED.items():
        minutes = [
            round(row.seconds / 60)
            for row in durations()
            if row.what in what and row.clock == "wall"
        ]
        assert phrase == f"{min(minutes)} to {max(minutes)} minutes"


def test_a_page_states_what_the_program_decides() -> None:
    for (page, phrase), seconds in DECIDED.items():
        count, unit = phrase.split()
        assert float(COUNTS.get(count, count)) * SECONDS[unit] == seconds, page


def test_what_is_let_through_still_stands_there() -> None:
    for page, phrase in TIED | DECIDED | ALLOWED:
        assert phrase in [duration for duration, _ in stated((ROOT / page).read_text())]


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("The study `gifd` takes 12 minutes.", ["12 minutes"]),
        ("It needs an hour or two on two cores.", ["an hour"]),
        (
            "It takes half a minute, then a quarter of an hour.",
            ["half a minute", "a quarter of an hour"],
        ),
        ("| `make test` | measured: 16 min 30 s |", ["16 min", "30 s"]),
        ("A call costs\n10 to 25 ms, a long one a second.", ["10 to 25 ms", "a second"]),
        ("`make reproduce` ends after 5 to 10 minutes.", ["5 to 10 minutes"]),
        ("`gradsiege plan` estimates the rest. It takes two hours.", ["two hours"]),
        ("One GPU, about an hour (estimated, not yet run). | a GPU for days |", []),
        ("A second `make reproduce` takes no time, a second one neither; as said, 8 s-boxes.", []),
        ("All s 3 sums.", []),
    ],
)
def test_a_planted_duration_is_found(sentence: str, found: list[str]) -> None:
    for page in ("docs/ARTIFACT.md", "config/README.md", "docs/results/gifd/README.md"):
        assert untied(page, sentence) == found


def test_only_the_time_of_a_study_itself_counts_on_its_page() -> None:
    page = "docs/results/gifd/README.md"
    assert untied(page, "It ran 9 minutes: 13 minutes of jobs.") == []
    assert untied(page, "It ran 13 minutes: 9 minutes of jobs.") == ["13 minutes", "9 minutes"]


@pytest.mark.parametrize(
    "row", [row for row in durations() if row.what.endswith(".yaml`")], ids=lambda row: row.what
)
def test_the_time_of_a_kept_study_is_that_of_its_record(row: Duration) -> None:
    """From the end of its first cell to that of its last one, and at most a minute more: the record holds whole minutes."""
    file = ROOT / "docs/results" / row.what.strip("`").removesuffix(".yaml") / "run.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    ends = [datetime.fromisoformat(record[f"{name} cell ended"]) for name in ("first", "last")]
    between = (ends[1] - ends[0]).total_seconds()
    assert between <= row.seconds <= between + 60
    assert row.date == record["last cell ended"][:10]
    assert [commit for commit in record["commits"] if commit.startswith(row.commit)]
