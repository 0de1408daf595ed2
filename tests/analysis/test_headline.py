"""Planted leaks: which protection survives is known, and ranks, pairs and margins are those of the definition."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gradsiege.analysis.attackers import Kinds
from gradsiege.analysis.headline import _beats_floors, headline
from gradsiege.analysis.pairs import Pairs
from gradsiege.analysis.recipes import Recipe
from gradsiege.analysis.summary import summarise

VICTIMS, GALLERY = 48, 508
# Mean PSNR and number of identified victims by defense: of the blind attack, and of informed ones by name.
Planted = dict[str, dict[str, tuple[float, int]]]
PLANTED: Planted = {
    "none": {"blind": (28.0, 48)},
    "broken": {"blind": (12.0, 0), "broken.undo": (27.6, 48), "broken.guess": (11.0, 0)},
    "better": {"blind": (28.0, 48), "better.try": (30.0, 48)},
    "partial": {"blind": (20.0, 24), "partial.try": (20.0, 24)},
    "strong": {"blind": (9.0, 0), "strong.try": (9.5, 0)},
    # As good as the lookup, and no better: the lookup is what it may be.
    "level": {"blind": (14.5, 0), "level.try": (14.6, 0)},
    "named": {"blind": (9.0, 18), "named.try": (9.0, 18)},
    "unmet": {"blind": (9.0, 0)},
    "costly": {"blind": (9.0, 0), "costly.try": (9.0, 0)},
}
WANTED = {
    "none": "baseline",
    "broken": "does not survive",
    "better": "does not survive",
    "partial": "survives in part",
    "strong": "survives",
    "level": "survives",
    "named": "survives in part",
    "unmet": "untested",
    "costly": "survives",
}
FLOOR = {"label_lookup": (14.5, 0)}
CONTROLS = {"control_nearest_aux": (16.8, 12), "control_random": (8.0, 0)}
COUNTERS = {attack for attacks in PLANTED.values() for attack in attacks if "." in attack}
KINDS = Kinds(
    bare={"none"},
    aware={"informed"},
    floors={"label_lookup", "control_class_mean"},
    counters=COUNTERS,
)


def rows(
    defense: str,
    attack: str,
    mean: float,
    hits: int,
    victims: int = VICTIMS,
    spread: float = 0.2,
    per_scene: int = 1,
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(zlib.crc32(f"{defense}/{attack}".encode()))
    control, informed = attack.startswith("control"), "." in attack
    noise = rng.normal(0, spread, victims)
    # The mean is planted exactly: what the rules say of it depends on no draw.
    noise -= noise.mean()
    return [
        {
            "dataset": "photos",
            "model": "convnet",
            "defense": defense,
            "training_stage": "untrained",
            "protocol": "fedsgd",
            "threat_model": "" if control else "informed" if informed else "strict",
            "attack": attack,
            "kind": "control" if control else "attack",
            "seed": 0,
            "victim": victim,
            "image": 0,
            "scene": victim // per_scene,
            "status": "complete",
            # What victims have in common is far larger than any difference: only pairs can show one.
            "psnr": mean + 5 * np.sin(victim) + noise[victim],
            "identified": victim < hits,
            "gallery_size": GALLERY,
        }
        for victim in range(victims)
    ]


def scored(planted: Planted, **options: Any) -> pd.DataFrame:
    return pd.DataFrame(
        [
            row
            for defense, attacks in planted.items()
            for attack, (mean, hits) in {**CONTROLS, **FLOOR, **attacks}.items()
            for row in rows(defense, attack, mean, hits, **options)
        ]
    )


def judged(
    scores: pd.DataFrame, unequal: tuple[str, ...] = (), kinds: Kinds = KINDS
) -> pd.DataFrame:
    names = scores["defense"].unique()
    accuracy = pd.DataFrame(
        {
            "dataset": "photos",
            "model": "convnet",
            "defense": names,
            "comparable": [0.0 if name in unequal else 1.0 for name in names],
        }
    )
    return headline(summarise(scores, resamples=200), scores, accuracy, kinds)


def verdicts(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["defense"], table["verdict"], strict=True))


def verdict_of(attacks: dict[str, tuple[float, int]], **options: Any) -> str:
    planted = {"none": PLANTED["none"], "planted": attacks}
    return verdicts(judged(scored(planted, **options)))["planted"]


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    return scored(PLANTED)


@pytest.fixture(scope="module")
def table(scores: pd.DataFrame) -> pd.DataFrame:
    return judged(scores, unequal=("costly",))


def test_verdicts_are_those_that_were_planted(table: pd.DataFrame) -> None:
    assert verdicts(table) == WANTED


def test_only_equal_accuracy_is_ranked_and_by_the_worst_case(table: pd.DataFrame) -> None:
    settings = table.drop_duplicates("defense").set_index("defense")
    assert list(settings.index[-1:]) == ["costly"]
    assert settings.loc[["costly", "unmet"], "rank"].isna().all()
    assert settings["rank"].dropna().tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert settings["rank"].idxmax() == "better"
    assert settings.loc["broken", "rank"] > settings.loc["partial", "rank"]


def test_unknown_accuracy_is_not_ranked(scores: pd.DataFrame) -> None:
    names = ["none", "broken"]
    few = scores[scores["defense"].isin(names)]
    accuracy = pd.DataFrame({"dataset": "photos", "model": "convnet", "defense": names})
    accuracy = accuracy.assign(comparable=np.nan)
    unknown = headline(summarise(few, resamples=200), few, accuracy, KINDS)
    assert unknown["rank"].isna().all()
    assert verdicts(unknown) == {name: WANTED[name] for name in names}, "a leak at any accuracy"


def test_the_worst_case_is_the_informed_attack_where_it_is_stronger(table: pd.DataFrame) -> None:
    worst = table[table["role"] == "worst_case"].set_index("defense")["attack"]
    assert worst["broken"] == "broken.undo"
    assert worst["none"] == "blind"
    assert worst["unmet"] == "label_lookup", "the lookup is an attacker like any other"
    informed = table[(table["role"] == "adaptive") & (table["defense"] == "broken")]
    assert informed["attack"].tolist() == ["broken.undo", "broken.guess"]


def test_differences_are_paired_by_victim(table: pd.DataFrame, scores: pd.DataFrame) -> None:
    row = table[(table["defense"] == "broken") & (table["attack"] == "broken.undo")].iloc[0]
    undone = scores[(scores["defense"] == "broken") & (scores["attack"] == "broken.undo")]
    bare = scores[(scores["defense"] == "none") & (scores["attack"] == "blind")]
    difference = undone["psnr"].to_numpy() - bare["psnr"].to_numpy()
    assert row["to_none"] == pytest.approx(difference.mean())
    # Unpaired, the spread of 5 dB over victims would make this an interval of several dB.
    assert row["to_none_high"] - row["to_none_low"] < 0.6
    assert row["to_blind_low"] > 14


def test_a_control_that_reads_the_truth_hides_no_leak() -> None:
    """16 dB: below the nearest auxiliary image (16.8, and 12 identified), above the lookup (14.5)."""
    assert verdict_of({"blind": (16.0, 0), "planted.try": (16.0, 0)}) == "survives in part"


def test_three_of_eight_identified_at_chance_of_one_in_508_is_a_leak() -> None:
    few = verdict_of({"blind": (9.0, 3), "planted.try": (9.0, 3)}, victims=8)
    assert few == "survives in part"


def test_nobody_identified_among_eight_shows_nothing() -> None:
    """0 of 8 is compatible with 31 %."""
    assert verdict_of({"blind": (9.0, 0), "planted.try": (9.0, 0)}, victims=8) == "undecided"
    assert verdict_of({"blind": (9.0, 0), "planted.try": (9.0, 0)}, victims=32) == "survives"


def test_an_interval_that_includes_zero_shows_nothing() -> None:
    """1.5 dB above the lookup with a spread of 12 dB: neither a leak nor its absence is shown."""
    attacks = {"blind": (9.0, 0), "planted.try": (16.0, 0)}
    assert verdict_of(attacks, spread=12.0) == "undecided"
    assert verdict_of(attacks, spread=0.5) == "survives in part"


def test_a_loss_that_is_not_shown_is_not_in_part() -> None:
    attacks = {"blind": (9.0, 0), "planted.try": (26.0, 48)}
    assert verdict_of(attacks, spread=12.0) == "undecided"
    assert verdict_of(attacks, spread=0.5) == "survives in part"


def test_victims_of_one_scene_are_one_unit() -> None:
    """48 victims of one photograph show nothing; of 24 they show a difference, and too little about identification."""
    attacks = {"blind": (9.0, 0), "planted.try": (9.0, 0)}
    assert verdict_of(attacks) == "survives"
    assert verdict_of(attacks, per_scene=2) == "undecided"
    assert verdict_of({"blind": (20.0, 0), "planted.try": (20.0, 0)}, per_scene=48) == "undecided"


def test_where_no_attack_works_without_a_defense_nothing_is_judged() -> None:
    planted: Planted = {
        "none": {"blind": (9.0, 0)},
        "planted": {"blind": (9.0, 0), "p.x": (9.0, 0)},
    }
    table = judged(scored(planted))
    assert verdicts(table)["planted"] == "undecided"
    assert (
        "no attack is shown to work" in table.set_index("defense").loc["planted", "because"].iloc[0]
    )


def test_without_an_attack_on_no_defense_or_without_a_floor_nothing_survives(
    scores: pd.DataFrame,
) -> None:
    few = scores[scores["defense"].isin(["none", "broken", "strong"])]
    alone = judged(few[few["defense"] != "none"])
    assert set(alone["verdict"]) == {"undecided"}
    floorless = judged(few[few["attack"] != "label_lookup"])
    assert verdicts(floorless) == {
        "none": "baseline",
        "broken": "does not survive",
        "strong": "undecided",
    }


def test_what_the_label_gives_away_is_no_identification() -> None:
    """Two of 32 are many for a guess in a gallery of 508, and not for one among the 51 of the right class."""
    attacks = {"blind": (9.0, 2), "planted.try": (9.0, 2)}
    scores = scored({"none": PLANTED["none"], "planted": attacks}, victims=32)
    assert verdicts(judged(scores))["planted"] == "survives in part"
    labelled = scores.assign(label=scores["victim"] % 10)
    assert verdicts(judged(labelled))["planted"] == "undecided", "nor is it shown to be none"


def test_the_strongest_of_many_attackers_is_not_taken_at_its_word() -> None:
    """Eight attackers as good as the lookup, with noise: few studies call one of them better (winner's curse)."""
    rng = np.random.default_rng(5)
    names, victims, studies = [f"a.{number}" for number in range(8)], 10, 40
    frame = pd.DataFrame(
        [row for name in ("label_lookup", *names) for row in rows("p", name, 14.5, 0, victims)]
    )
    lines = [row for _, row in frame.drop_duplicates("attack").iterrows()]
    tried, psnr = frame["attack"].str.startswith("a."), frame["psnr"].copy()
    leaks = {"each": 0, "family": 0}
    for _ in range(studies):
        frame.loc[tried, "psnr"] = psnr[tried] + rng.normal(0, 2, int(tried.sum()))
        pairs = Pairs(frame)
        leaks["family"] += _beats_floors(lines[1:], lines[:1], pairs)
        leaks["each"] += any(_beats_floors([line], lines[:1], pairs) for line in lines[1:])
    assert leaks["family"] <= 6, "three standard errors above 5 % of 40"
    assert leaks["each"] > 6, "which each at its own level would exceed by far"


def test_an_attack_that_only_identifies_competes_in_identification_alone() -> None:
    kinds = Kinds(bare={"none"}, aware={"informed"}, floors={"label_lookup"})
    attacks = {"blind": (9.0, 0), "planted.try": (9.0, 0), "identification": (40.0, 40)}
    scores = scored({"none": PLANTED["none"], "planted": attacks})
    chosen = scores.assign(
        kind=scores["kind"].mask(scores["attack"] == "identification", "identification")
    )
    table = judged(chosen, kinds=kinds)
    of_planted = table[table["defense"] == "planted"].set_index("role")
    assert of_planted.loc["worst_case", "attack"] == "label_lookup"
    assert of_planted.loc["worst_identified", "attack"] == "identification"
    assert of_planted["verdict"].iloc[0] == "survives in part"
    assert verdicts(judged(scores))["planted"] == "does not survive", "taken as a reconstruction"


def test_identification_is_that_of_the_network_that_the_worst_case_stands_on() -> None:
    scores = scored({"none": {"blind": (28.0, 10)}, "planted": {"blind": (20.0, 7)}})
    late = scores[scores["attack"].eq("blind")].assign(training_stage="late", identified=True)
    table = judged(pd.concat([scores, late.assign(psnr=late["psnr"] - 5)]))
    of_planted = table[table["defense"] == "planted"].set_index("role")
    assert of_planted.loc["worst_identified", "training_stage"] == "untrained"
    assert of_planted.loc["worst_identified", "identified"] == 7 / VICTIMS


def test_ranks_count_attackers_that_every_defense_met() -> None:
    """GIFD meets one defense and lifts its worst case; its rank stays that of the attackers that both met."""
    planted: Planted = {
        "none": {"blind": (28.0, 48)},
        "one": {"blind": (18.0, 0), "one.try": (19.0, 0), "gifd": (27.0, 40)},
        "two": {"blind": (20.0, 0), "two.try": (21.0, 0)},
    }
    kinds = Kinds({"none"}, {"informed"}, {"label_lookup"}, counters={"one.try", "two.try"})
    table = judged(scored(planted), kinds=kinds)
    ranks = table.drop_duplicates("defense").set_index("defense")["rank"]
    assert ranks[["one", "two", "none"]].tolist() == [1, 2, 3]
    worst = table[table["role"] == "worst_case"].set_index("defense")
    assert worst.loc["one", "attack"] == "gifd"
    assert not worst.loc["one", "in_portfolio"]
    assert worst.loc["two", "in_portfolio"], "counters of two defenses fill the same entry"
    assert table.loc[table["attack"] == "blind", "in_portfolio"].all()


def test_the_generic_counter_has_an_entry_and_a_role_of_its_own() -> None:
    planted: Planted = {
        "none": {"blind": (28.0, 48)},
        "one": {"blind": (18.0, 0), "one.try": (19.0, 0), "generic.x": (22.0, 40)},
        "two": {"blind": (20.0, 0), "two.try": (21.0, 0), "generic.x": (20.5, 40)},
    }
    kinds = Kinds(
        {"none"}, {"informed"}, {"label_lookup"}, {"one.try", "two.try"}, generic={"generic.x"}
    )
    table = judged(scored(planted), kinds=kinds)
    of_one = table[table["defense"] == "one"].set_index("role")
    assert of_one.loc["generic", "attack"] == "generic.x"
    assert of_one.loc["best_informed", "attack"] == "one.try"
    assert table.drop_duplicates("defense").set_index("defense")["rank"].to_dict() == {
        "two": 1,
        "one": 2,
        "none": 3,
    }


@pytest.mark.parametrize(
    ("undefended", "wanted"),
    [
        ((27.8, 48), "survives in part"),
        ((22.0, 48), "untested"),
        ((11.2, 48), "untested"),
        ((11.2, 0), "untested"),
    ],
)
def test_a_method_that_is_weak_without_a_defense_is_no_evidence_for_one(
    undefended: tuple[float, int], wanted: str
) -> None:
    """The informed attack is that of a method of its own: as good as the blind one without a defense, weaker, or starved."""
    planted: Planted = {
        "none": {"blind": (28.0, 48), "starved": undefended},
        "planted": {"blind": (20.0, 24), "starved": (11.0, 0), "starved.try": (12.0, 24)},
    }
    kinds = Kinds(
        {"none"},
        {"informed"},
        {"label_lookup"},
        counters={"starved.try"},
        recipes={
            "blind": Recipe("blind"),
            "starved": Recipe("starved"),
            "starved.try": Recipe("starved"),
        },
    )
    table = judged(scored(planted), kinds=kinds)
    assert verdicts(table)["planted"] == wanted


@pytest.mark.parametrize(("hits", "wanted"), [(48, "survives"), (0, "untested")])
def test_where_nobody_recovers_anything_a_method_must_identify(hits: int, wanted: str) -> None:
    """Without a defense all attacks end below the floor, and the blind one identifies."""
    planted: Planted = {
        "none": {"blind": (10.0, 48), "own": (10.0, hits)},
        "planted": {"blind": (8.0, 0), "own": (8.0, 0), "own.try": (8.0, 0)},
    }
    kinds = Kinds(
        {"none"},
        {"informed"},
        {"label_lookup"},
        counters={"own.try"},
        recipes={"blind": Recipe("blind"), "own": Recipe("own"), "own.try": Recipe("own")},
    )
    assert verdicts(judged(scored(planted), kinds=kinds))["planted"] == wanted


SAME = Recipe("mode", frozenset({"gaussian"}))


@pytest.mark.parametrize(
    ("iterations", "recipe", "grants", "wanted"),
    [
        (300, SAME, "", "survives in part"),
        (280, SAME, "", "survives in part"),
        (250, SAME, "", "untested"),
        (300, Recipe("mode", frozenset({"gaussian", "images"})), "", "survives in part"),
        (60, SAME, "", "untested"),
        (300, Recipe("mode"), "", "untested"),
        (300, Recipe("mode of another step", SAME.priors), "", "untested"),
        (300, SAME, "labels", "untested"),
    ],
)
def test_an_informed_attacker_has_what_its_like_without_a_defense_had(
    iterations: int, recipe: Recipe, grants: str, wanted: str
) -> None:
    """The method works without a defense with 300 iterations, a prior and no labels; the informed one has less, as much, or more."""
    planted: Planted = {
        "none": {"mode": (28.0, 48)},
        "planted": {"mode": (20.0, 24), "mode.try": (20.0, 24)},
    }
    kinds = Kinds(
        {"none"},
        {"informed"},
        {"label_lookup"},
        counters={"mode.try"},
        recipes={"mode": SAME, "mode.try": recipe},
        grants={"strict": grants},
    )
    scores = scored(planted)
    scores["iterations"] = np.where(scores["attack"] == "mode.try", iterations, 300)
    assert verdicts(judged(scores, kinds=kinds))["planted"] == wanted


@pytest.mark.parametrize(("hits", "wanted"), [(48, "survives"), (0, "untested")])
def test_an_informed_attacker_that_only_identifies_tries_where_nobody_recovers_anything(
    hits: int, wanted: str
) -> None:
    planted: Planted = {
        "none": {"blind": (10.0, 48), "seek": (10.0, hits)},
        "planted": {"blind": (8.0, 0), "seek.try": (8.0, 0)},
    }
    kinds = Kinds(
        {"none"},
        {"informed"},
        {"label_lookup"},
        counters={"seek.try"},
        recipes={"blind": Recipe("blind"), "seek": Recipe("seek"), "seek.try": Recipe("seek")},
    )
    scores = scored(planted)
    seeking = scores["attack"].str.startswith("seek")
    scores["kind"] = scores["kind"].mask(seeking, "identification")
    assert verdicts(judged(scores, kinds=kinds))["planted"] == wanted
