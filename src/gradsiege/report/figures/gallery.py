"""Reconstructions beside their originals, for victims at stated quantiles of PSNR."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from gradsiege.metrics.picture_names import source_of
from gradsiege.report import style
from gradsiege.report.chosen_cells import one_per_defense
from gradsiege.report.chosen_victims import at_quantiles, reference_rows
from gradsiege.report.contact_sheet import Block, Tile, draw_sheet
from gradsiege.report.data import CELL_KEY, Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.protection_words import counter_of
from gradsiege.report.wording import joined, number, synthetic_note

VERSION = 5
TITLE = "What the attacker sees"
QUANTILES = (0.1, 0.5, 0.9)
MOST_BLOCKS = 6
COLUMNS = [*CELL_KEY, "quantile", "victim", "image", "reference", "attack", "kind"]
COLUMNS += ["threat_model", "status", "reason", "psnr"]


def draw(data: StudyData) -> Drawn:
    """Draw one row per chosen victim: original, controls, attacks, with the PSNR under each."""
    keys = one_per_defense(data, data.pictures)
    blocks = [block for key in keys[:MOST_BLOCKS] if (block := _block(data, key)) is not None]
    if not blocks:
        figure = style.nothing_to_draw("no pictures of a finished attack.")
        empty = pd.DataFrame(columns=COLUMNS)
        return Drawn(TITLE, "No attack finished with pictures.", empty, figure)
    with style.study_style():
        figure = draw_sheet(blocks)
    table = pd.DataFrame([row for block in blocks for row in _rows(block)], columns=COLUMNS)
    caption = _caption(data, blocks, left_out=len(keys) - len(blocks))
    return Drawn(TITLE, caption, table, figure, alt=_alt(table))


def _block(data: StudyData, key: str) -> Block | None:
    """The victims and tiles of one cell; None where no attack finished."""
    cell = dict(zip(CELL_KEY, key.split("/"), strict=True))
    of_cell = data.scores
    for field in CELL_KEY:
        value: object = int(cell[field][4:]) if field == "seed" else cell[field]
        of_cell = of_cell[of_cell[field] == value]
    done = of_cell[(of_cell["kind"] == "attack") & (of_cell["status"] == "complete")]
    if done.empty:
        return None
    rows = reference_rows(data, of_cell)
    reference = str(rows["attack"].iloc[0])
    texts = [label(cell["defense"], data.name_of("defenses", cell["defense"]))]
    texts += [f"{label(cell['dataset'])}, {label(cell['model'])}"]
    texts += [f"{cell['training_stage']}, {label(cell['protocol'])}"]
    chosen = at_quantiles(rows, QUANTILES)
    tiles = list(_tiles(data, of_cell, key, chosen))
    return Block(cell, tuple(texts), reference, chosen, tiles)


def _tiles(
    data: StudyData, of_cell: pd.DataFrame, key: str, chosen: list[tuple[float, int, int]]
) -> Iterator[Tile]:
    """Every picture of the cell's chosen victims, with the score row it belongs to."""
    pictures = data.pictures[key]
    order = sorted(set(zip(of_cell["victim"], of_cell["image"], strict=True)))
    attacks = [source_of(name)[0] for name in pictures]
    for index, (_, victim, image) in enumerate(chosen):
        place = order.index((victim, image))
        rows = of_cell[(of_cell["victim"] == victim) & (of_cell["image"] == image)]
        yield Tile(index, "truth", "Original", "truth", pictures["truth"][place], None)
        for entry in _entries(data, [name for name in pictures if name != "truth"]):
            attack, threat = source_of(entry)
            row = rows[rows["attack"] == attack]
            row = row[row["threat_model"] == threat] if threat else row
            text = _heading(data, attack)
            told = threat and attacks.count(attack) > 1
            text += f" ({threat.replace('_', ' ')})" if told else ""
            score = row.iloc[0] if len(row) else None
            kind = "attack" if score is None else str(score["kind"])
            yield Tile(index, entry, text, kind, pictures[entry][place], score)


def _heading(data: StudyData, attack: str) -> str:
    """The attack, with the idea of its counter: the defense that it answers names the block."""
    name, idea = label(data.name_of("attacks", attack)), counter_of(data, attack)
    plain = label(attack, data.name_of("attacks", attack))
    return plain if idea == plain else f"{name}, {idea}"


def _entries(data: StudyData, names: list[str]) -> list[str]:
    """Names of pictures: controls, then attacks in order."""
    attacks = data.in_order("attacks", [source_of(name)[0] for name in names])
    return sorted(
        names,
        key=lambda name: (
            not name.startswith("control_"),
            attacks.index(source_of(name)[0]),
        ),
    )


def _rows(block: Block) -> Iterator[dict[str, object]]:
    for tile in block.tiles:
        if tile.score is not None:
            quantile, victim, image = block.chosen[tile.row]
            score = tile.score[["attack", "kind", "threat_model", "status", "reason", "psnr"]]
            seed = int(block.cell["seed"][4:])
            place = {"quantile": quantile, "victim": victim, "image": image}
            yield {**block.cell, "seed": seed, **place, "reference": block.reference, **score}


def _caption(data: StudyData, blocks: list[Block], left_out: int) -> str:
    quantiles = joined(f"{quantile:g}" for quantile in QUANTILES)
    references = joined(dict.fromkeys(label(block.reference) for block in blocks))
    text = (
        f"Victims were chosen by rule, not by eye: in each cell, the images at the {quantiles} "
        f"quantiles (q) of the PSNR that {references} reached there (nearest rank, lowest seed, "
        "earliest training stage, first protocol). The number under a picture is its PSNR in dB, "
        "the best attack of a row in bold. Controls use no gradient; the nearest auxiliary image "
        "is found with the original in hand, so it bounds what memory alone could give. Where a "
        "defense changes the images before training, perfect inversion is what the client trained on."
    )
    if left_out:
        cells = "cell is" if left_out == 1 else "cells are"
        text += f" {left_out} more {cells} not drawn (at most {MOST_BLOCKS}, or nothing finished)."
    return text + synthetic_note(data, [block.cell["dataset"] for block in blocks])


def _alt(table: pd.DataFrame) -> str:
    attacks = table[(table["kind"] == "attack") & (table["quantile"] == 0.5)]
    best = (
        attacks.dropna(subset=["psnr"]).sort_values("psnr").groupby("defense", sort=False).tail(1)
    )
    parts = [
        f"{label(line['defense'])}: {label(line['attack'])} {number(line['psnr'])} dB"
        for _, line in best.iterrows()
    ]
    return "Grid of original and reconstructed pictures. Median victim, best attack: " + (
        "; ".join(parts) + "." if parts else "none."
    )
