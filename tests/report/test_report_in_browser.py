"""The report in a real headless Chromium: it fits, and its enhancements work."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from gradsiege.report.data import StudyData
from gradsiege.report.figures import training_stage
from gradsiege.report.page import page as report
from gradsiege.report.tables import table_attacks
from gradsiege.study.ledger import FILE, load

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PROBE = """<script>
const field = document.querySelector(".filter input");
field.value = "gi-pip late";
field.dispatchEvent(new Event("input"));
const wide = [...document.querySelectorAll("main *")].filter((element) =>
  !element.closest(".scroll, .frame, pre, dialog")
  && element.getBoundingClientRect().right > innerWidth + 1);
const rows = [...document.querySelectorAll("table.filterable")][0].tBodies[0].rows;
const visible = [...rows].filter((row) => !row.hidden).length;
document.querySelectorAll("#claims details").forEach((element) => { element.open = true; });
const claims = [...document.querySelectorAll("#claims .scroll")];
const sought = [...document.querySelectorAll("#claims .filter input")].pop();
sought.value = "five cifar-10 soteria";
sought.dispatchEvent(new Event("input"));
const link = document.querySelector('a.evidence[data-filter][href="#table_attacks"]');
link.click();
const led = [...rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
const nameless = [...document.querySelectorAll("input, button, [tabindex='0']")].filter((element) =>
  !(element.labels && element.labels.length) && !element.getAttribute("aria-label")
  && !element.getAttribute("aria-labelledby") && !element.textContent.trim());
document.querySelector(".zoom-button").click();
const focused = document.activeElement.closest("dialog") !== null;
document.title = JSON.stringify({
  inner: innerWidth,
  scroll: document.documentElement.scrollWidth,
  wide: wide.map((element) => element.tagName + "." + element.className),
  visible,
  led: [...new Set(led)],
  sentence: link.dataset.filter,
  nameless: nameless.map((element) => element.outerHTML.slice(0, 80)),
  focused,
  sideways: [...document.querySelectorAll("table.stacked")].map(
    (table) => table.parentElement.scrollWidth - table.parentElement.clientWidth),
  ghosts: [...document.querySelectorAll("tr[hidden]")].filter((row) => row.offsetHeight).length,
  claims: claims.map((element) => element.scrollWidth - element.clientWidth),
  sought: [...claims[1].querySelectorAll("tbody tr")].filter((row) => !row.hidden).length,
  zoomed: document.getElementById("zoom").open,
  background: getComputedStyle(document.body).backgroundColor,
});
</script></body>"""


@pytest.fixture(scope="module")
def probed(made_up_study: StudyData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = {
        "table_attacks": table_attacks.draw(made_up_study),
        "training_stage": training_stage.draw(made_up_study),
    }
    judged = dataclasses.replace(made_up_study, claims=load(Path(__file__).parents[2] / FILE))
    html = report.render(judged, drawn, {"training_stage": "snakemake figure.pdf"})
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html.replace("</body>", PROBE))
    return path


@pytest.mark.skipif(
    CHROMIUM is None,
    reason="needs Debian's chromium package: a page cannot be looked at without a browser",
)
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(("scheme", "page"), [(0, "rgb(20, 23, 26)"), (1, "rgb(251, 250, 247)")])
def test_the_page_fits_and_works(
    probed: Path, tmp_path: Path, width: int, scheme: int, page: str
) -> None:
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
    options += [f"--blink-settings=preferredColorScheme={scheme}", "--dump-dom"]
    shown = subprocess.run(
        [CHROMIUM, *options, probed.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    title = re.search(r"<title>(\{.*?\})</title>", shown.stdout)
    assert title is not None
    measured = json.loads(unescape(title[1]))
    assert measured["inner"] <= max(width, 500)  # some versions have a least window width
    assert measured["scroll"] <= measured["inner"]
    assert measured["wide"] == []
    assert measured["visible"] == 2  # one late GI-PIP row a data set
    assert measured["claims"] == [0, 0], "claims are read without scrolling sideways"
    assert measured["ghosts"] == 0, "rows that a filter hides take no room"
    if measured["inner"] < 736:
        assert set(measured["sideways"]) == {0}, "a phone shows every row as a card"
    assert measured["sought"] == 2  # five attacks on CIFAR-10 under Soteria: pixels, structure
    assert measured["led"] == [measured["sentence"]], "a sentence leads to the rows of its attack"
    assert measured["nameless"] == [], "everything that takes the keyboard has a name"
    assert measured["zoomed"] is True
    assert measured["focused"] is True, "the dialog takes the focus, so that the keyboard closes it"
    assert measured["background"] == page
