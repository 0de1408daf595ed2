"""The contents of the site, and the pages that are made before Sphinx reads the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docs.pages import api, command_line, kept_tables, looks, study_keys, tutorials

ROOT = Path(__file__).parents[2]
MADE = ROOT / "docs/reference"
PAGES = [
    "docs/*.md",
    "docs/results/*.md",
    "docs/results/*/*.md",
    "docs/reference/*.md",
    "docs/reference/*/*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
    "RELEASING.md",
    "config/README.md",
    "data/README.md",
    "examples/plugin/README.md",
]
ENTERED = {"docs", "config", "data", "examples"}


def passed_over(root: Path) -> list[str]:
    """Return the folders that Sphinx need not walk through: results and environments hold very many files."""
    folders = [path.name for path in root.iterdir() if path.is_dir() and path.name not in ENTERED]
    inner = [f"data/{path.name}" for path in (root / "data").iterdir() if path.is_dir()]
    return [*folders, *inner]


def studies() -> list[str]:
    """Return the names of the kept studies."""
    return sorted(record.parent.name for record in kept_tables.KEPT.glob("*/run.json"))


def pages() -> dict[str, str]:
    """Return every page that is made, by its path below ``docs/reference``."""
    made = {"command_line.md": command_line.page(), "study_keys.md": study_keys.page()}
    made |= {f"results/{study}.md": kept_tables.page(study) for study in studies()}
    made |= {f"tutorials/{name}.md": text for name, text in tutorials.pages().items()}
    return made | {f"api/{name}.md": text for name, text in api.pages().items()}


def make(*_sphinx: object) -> None:
    """Write the made pages, and remove those that are no longer made; one that has not changed keeps its time."""
    made = pages()
    for file in MADE.rglob("*.md"):
        if str(file.relative_to(MADE)) not in made:
            file.unlink()
    for name, text in made.items():
        file = MADE / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def add_tables(_app: object, name: str, source: list[str]) -> None:
    """End the page of a kept study with the link to its tables."""
    parts = name.split("/")
    if parts[:2] == ["docs", "results"] and parts[2] in studies():
        source[0] += (
            f"\n## Tables\n\n```{{toctree}}\n:maxdepth: 1\n\n../../reference/results/{parts[2]}\n```\n"
        )


def connect(app: Any) -> None:
    """Hang the steps into Sphinx."""
    app.connect("config-inited", make)
    app.connect("source-read", add_tables)
    app.connect("doctree-resolved", looks.look)
    # Sphinx writes every page anew where this value has changed.
    app.add_config_value("looks", Path(looks.__file__).read_text(encoding="utf-8"), "html")
