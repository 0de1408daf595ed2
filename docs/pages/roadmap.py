"""The tables of docs/ROADMAP.md: studies that were not kept, and claims that wait for one (``python -m docs.pages.roadmap``).

They follow from the study files, the table of config/README.md and the page of verdicts, so that nothing that ran still stands there.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from docs.pages.markdown import table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/ROADMAP.md"
VERDICTS = ROOT / "docs/results/VERDICTS.md"
BEGIN, END = "<!-- made tables begin -->\n", "<!-- made tables end -->\n"
ANY = "any data set"


def studies() -> list[list[str]]:
    """Return file, purpose and needs of every study file whose results are not kept, as config/README.md describes it."""
    text = (ROOT / "config/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/]+\.yaml)` \| (.+?) \| (.+?) \|$", text, flags=re.MULTILINE)
    kept = {record.parent.name for record in (ROOT / "docs/results").glob("*/run.json")}
    # The default study is run by everyone, and stands for nothing.
    kept.add("quick")
    return [
        [f"`{name}`", purpose, needs] for name, purpose, needs in rows if not is_kept(name, kept)
    ]


def is_kept(name: str, kept: set[str]) -> bool:
    """Whether the results of a study file are kept; a study in a folder of its own (``paper/tip.yaml``) is not the one beside it.

    >>> is_kept("gifd.yaml", {"gifd"}), is_kept("paper/gifd.yaml", {"gifd"})
    (True, False)
    """
    return name.removesuffix(".yaml") in kept


def waiting(verdicts: str) -> Counter[tuple[str, str]]:
    r"""Return how many claims were not run, by paper and by the data set that they wait for, from the page of verdicts.

    >>> text = "## TIP\\n| not run | waits |\\n| --- | --- |\\n| `tip.a`: X. | data set cifar10 with size 32; model resnet18 |\\n"
    >>> waiting(text + "| `tip.b`: Y. | defense tip |\\n")
    Counter({('TIP', '`cifar10`'): 1, ('TIP', 'any data set'): 1})
    """
    counts: Counter[tuple[str, str]] = Counter()
    for section in verdicts.split("\n## ")[0 if verdicts.startswith("## ") else 1 :]:
        paper = section.removeprefix("## ").partition("\n")[0]
        _, _, rows = section.partition("| not run |")
        for needs in re.findall(r"^\| `[\w.]+`: .* \| ([^|]+) \|$", rows, flags=re.MULTILINE):
            named = re.search(r"data set (\w+)", needs)
            counts[paper, f"`{named[1]}`" if named else ANY] += 1
    return counts


def tables() -> str:
    """Return both tables as they stand between the markers."""
    counts = waiting(VERDICTS.read_text(encoding="utf-8"))
    rows = [[paper, data, str(count)] for (paper, data), count in counts.items()]
    return (
        f"## Studies\n\n{table(['study file', 'for', 'needs'], studies())}\n\n"
        f"## Claims\n\nOf the ledger, {counts.total()} claims were not run.\n\n{table(['paper', 'data', 'claims not run'], rows)}\n"
    )


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + tables() + END + rest.partition(END)[2], encoding="utf-8")
