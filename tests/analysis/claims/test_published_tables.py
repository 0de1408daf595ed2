"""Every number that could be read off a published table or chart stands in the ledger, once, where it was read.

The counts and sums below were taken from the tables themselves, not from the ledger. A number that is left out, typed wrong
or put into the wrong column changes one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gradsiege.analysis.claims.claim import Claim, Selector
from gradsiege.study.ledger import FILE, load

Number = tuple[Claim, Selector, str, float]
ATTACKS = ("inverting_gradients", "gradinversion", "ggl", "gias", "gifd")


@dataclass(frozen=True)
class Series:
    """One row or column of a published table: the claims that hold it, how many numbers, and what they add up to."""

    table: str
    claims: str
    count: int
    total: float
    metric: str = ""
    attack: str = ""

    def holds(self, number: Number) -> bool:
        claim, cells, metric, _ = number
        return (
            re.fullmatch(self.claims, claim.id) is not None
            and self.metric in ("", metric)
            and self.attack in ("", cells.attack.get("name"))
        )


def _rerun(metric: str, *totals: float) -> list[Series]:
    """CENSOR's table: 3 data sets x 6 defenses, one column per attack, four numbers per cell."""
    kind = "pixels" if metric in ("psnr", "mse") else "structure"
    claims = rf"rerun\.(imagenet|ffhq|cifar10)\.\w+\.{kind}"
    return [
        Series(f"CENSOR, {metric} of {attack}", claims, 18, total, metric, attack)
        for attack, total in zip(ATTACKS, totals, strict=True)
    ]


TABLES = [
    # TIP, accuracy figure: eleven rounds x four curves.
    Series("TIP, no defense", r"tip\.accuracy\.none", 11, 7.204),
    Series("TIP, TIP", r"tip\.accuracy\.tip", 11, 6.615),
    Series("TIP, AGP", r"tip\.accuracy\.agp", 11, 5.059),
    Series("TIP, DP", r"tip\.accuracy\.dp", 11, 4.124),
    # GI-PIP, four bar charts x two bars.
    Series("GI-PIP, batch size, with", r"gi_pip\.batch\.with", 6, 2.41),
    Series("GI-PIP, batch size, without", r"gi_pip\.batch\.without", 6, 1.71),
    Series("GI-PIP, noise, with", r"gi_pip\.noise\.with", 5, 2.07),
    Series("GI-PIP, noise, without", r"gi_pip\.noise\.without", 5, 1.70),
    Series("GI-PIP, sparsity, with", r"gi_pip\.sparsity\.with", 5, 2.16),
    Series("GI-PIP, sparsity, without", r"gi_pip\.sparsity\.without", 5, 1.71),
    Series("GI-PIP, epochs", r"gi_pip\.epochs\.\d+", 10, 2.13 + 1.74),
    # GIFD and its rivals as CENSOR ran them again.
    *_rerun("psnr", 300.583, 272.202, 250.729, 369.969, 314.363),
    *_rerun("mse", 0.6782, 0.8134, 0.8039, 0.4463, 0.5132),
    *_rerun("ssim_on_normalised", 5.4383, 3.5949, 1.9501, 8.3224, 5.9706),
    *_rerun("lpips_on_normalised", 9.7788, 11.1518, 11.0044, 7.2891, 9.2912),
    # Shadow's noise at four rounds, from its constants: peak, root mean square, PSNR.
    Series("Shadow, noise, peak", r"shadow\.noise(\.\d+)?", 4, 0.588, "protected_peak"),
    Series("Shadow, noise, RMS", r"shadow\.noise(\.\d+)?", 4, 0.124, "protected_rms"),
    Series("Shadow, noise, PSNR", r"shadow\.noise(\.\d+)?", 4, 123.8, "protected_psnr"),
]
# Numbers that stand in running text: (claim, metric, value).
IN_WORDS = [
    ("shadow.psnr.chest", "psnr", 3.73),
    ("shadow.psnr.eye", "psnr", 2.78),
    ("shadow.ssim.chest", "ssim", 0.2),
    ("shadow.ssim.eye", "ssim", 0.166),
    ("shadow.accuracy", "accuracy", -0.01),
    ("shadow.f1", "macro_f1", -0.01),
    ("gi_pip.imagenet", "psnr", 16.12),
]
# Statements whose numbers no metric measures; the number must at least be quoted.
QUOTED = [
    ("gi_pip.imagenet", "3.8 %"),
    ("gi_pip.gan_needs_more", "70 %"),
    ("shadow.fedavg.ssim", "1.5%"),
    ("shadow.fedavg.lpips", "1.5%"),
]


@pytest.fixture(scope="module")
def ledger() -> dict[str, Claim]:
    return {claim.id: claim for claim in load(Path(__file__).parents[3] / FILE)}


@pytest.fixture(scope="module")
def numbers(ledger: dict[str, Claim]) -> list[Number]:
    return [
        (claim, cells, metric, value)
        for claim in ledger.values()
        for cells, metric, value in claim.published()
        if value is not None
    ]


@pytest.mark.parametrize("series", TABLES, ids=lambda series: series.table)
def test_a_published_series_is_complete(series: Series, numbers: list[Number]) -> None:
    found = [number for number in numbers if series.holds(number)]
    assert len(found) == series.count
    assert sum(value for *_, value in found) == pytest.approx(series.total, abs=1e-9)
    places = {(claim.id, cells.model_dump_json(), metric) for claim, cells, metric, _ in found}
    assert len(places) == series.count, "no number stands in for another"


@pytest.mark.parametrize(("claim", "metric", "value"), IN_WORDS)
def test_a_number_of_an_abstract_is_there(
    claim: str, metric: str, value: float, ledger: dict[str, Claim]
) -> None:
    assert (metric, value) in [(name, found) for _, name, found in ledger[claim].published()]
    assert ledger[claim].place == "abstract"


@pytest.mark.parametrize(("claim", "words"), QUOTED)
def test_a_number_that_no_metric_measures_is_quoted(
    claim: str, words: str, ledger: dict[str, Claim]
) -> None:
    assert words in ledger[claim].statement


def test_no_absolute_number_comes_from_elsewhere(numbers: list[Number]) -> None:
    """Every value that is compared with a published value alone was read in one of these places."""
    known: list[Callable[[Number], bool]] = [series.holds for series in TABLES]
    named = {claim for claim, _, _ in IN_WORDS} | {"tip.accuracy.gap"}
    for number in numbers:
        claim = number[0]
        if claim.rule == "value_within":
            assert claim.id in named or any(holds(number) for holds in known), claim.id


def test_every_claim_says_where_it_stands(ledger: dict[str, Claim]) -> None:
    words = {
        "digitised": r"figure|chart",
        "third_party": r"table|in words",
        "derived": r"arithmetic",
        "published": r"abstract|table|comparison",
    }
    for claim in ledger.values():
        assert re.search(words[claim.origin], claim.place), (claim.id, claim.place)
