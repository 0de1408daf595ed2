"""Tables and figures carry what the style sheet needs to show them on a phone and on paper."""

from __future__ import annotations

from docutils import nodes

from docs.pages import kept_tables, looks


def table(*rows: tuple[str, ...]) -> nodes.table:
    """Return a table of texts whose first row is its head."""
    lines = [
        nodes.row("", *(nodes.entry("", nodes.paragraph("", text)) for text in row)) for row in rows
    ]
    return nodes.table("", nodes.tgroup("", nodes.thead("", lines[0]), nodes.tbody("", *lines[1:])))


def test_a_cell_of_a_table_of_sentences_begins_with_the_name_of_its_column() -> None:
    made = table(("claim", "evidence"), ("short", "many words " * 20))
    looks.prepare_table(made)
    assert made["classes"] == ["prose"]
    assert [cell.astext()[:10] for cell in made.findall(nodes.entry)][2:] == [
        "claim: sho",
        "evidence: ",
    ]


def test_an_interval_stays_in_one_line() -> None:
    made = table(("a",), ("13.6 [13.0, 14.1], of [a, b]",), ("−0.2 [−0.65, 0.24]",))
    looks.prepare_table(made)
    kept = [part.astext() for part in made.findall(nodes.inline)]
    assert kept == ["[13.0, 14.1]", "[−0.65, 0.24]"]
    assert made["classes"] == ["figures"]
    assert "13.6 [13.0, 14.1], of [a, b]" in made.astext()


def test_paper_names_the_file_of_a_table_that_is_too_wide_for_it() -> None:
    names = [f"column{at}" for at in range(kept_tables.ON_PAPER + 1)]
    rows = [dict.fromkeys(names, value) for value in ("1", "2")]
    assert "see long.csv" in kept_tables.html(rows, {}, "long.csv")
    narrow = [{name: row[name] for name in names[1:]} for row in rows]
    assert "long.csv" not in kept_tables.html(narrow, {}, "long.csv")
