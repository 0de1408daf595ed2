"""The page of an audit in a real headless Chromium: it fits a phone and a desktop, and nothing is cut off in print."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from gradsiege.auditing.audit import Audit
from gradsiege.auditing.page.page import render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NEEDED = pytest.mark.skipif(
    CHROMIUM is None,
    reason="needs Debian's chromium package: a page cannot be looked at without a browser",
)
# Parts that stick out, drawings with letters below a readable size, and controls without a name.
PROBE = """<script>
const wide = [...document.querySelectorAll("body *")].filter((element) =>
  !element.closest(".scroll, .frame, svg") && element.getBoundingClientRect().right > innerWidth + 1);
const small = [...document.querySelectorAll("svg text")].filter((element) =>
  element.getBoundingClientRect().height < 9);
const cut = [...document.querySelectorAll(".frame")].filter((element) =>
  element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX === "hidden");
const nameless = [...document.querySelectorAll("summary, a, [tabindex='0']")].filter((element) =>
  !element.getAttribute("aria-labelledby") && !element.textContent.trim());
const empty = [...document.images].filter((image) => !image.complete || !image.naturalWidth);
parent.postMessage(JSON.stringify({
  inner: innerWidth,
  scroll: document.documentElement.scrollWidth,
  wide: wide.map((element) => element.tagName + "." + element.className).slice(0, 5),
  small: small.length,
  cut: cut.length,
  nameless: nameless.length,
  empty: empty.length,
  images: document.images.length,
}), "*");
</script></body>"""
# A headless window has a least width, which a frame in it has not.
OUTSIDE = """<!doctype html><title>nothing was measured</title>
<iframe src="page.html" style="width: {width}px; height: 800px; border: 0"></iframe>
<script>addEventListener("message", (event) => {{ document.title = event.data; }});</script>"""


def browser(profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Chromium without a network."""
    assert CHROMIUM is not None
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    quiet += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    return subprocess.run(
        [CHROMIUM, *quiet, f"--user-data-dir={profile}", *options],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )


def probed(page: str, script: str, width: int, folder: Path) -> dict[str, Any]:
    """Return what a script at the end of the page measures in a window of this width; the page itself allows none at all."""
    allowed = page.replace("default-src 'none'", "script-src 'unsafe-inline'; img-src data:")
    (folder / "page.html").write_text(allowed.replace("</body>", script))
    outside = folder / "outside.html"
    outside.write_text(OUTSIDE.format(width=width))
    shown = browser(
        folder / "profile",
        "--window-size=1400,900",
        "--virtual-time-budget=5000",
        "--dump-dom",
        outside.as_uri(),
    )
    title = re.search(r"<title>(\{.*?\})</title>", shown.stdout)
    assert title is not None, "nothing was measured"
    measured: dict[str, Any] = json.loads(unescape(title[1]))
    return measured


@NEEDED
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits(varied: Audit, tmp_path: Path, width: int) -> None:
    measured = probed(render(varied), PROBE, width, tmp_path)
    assert measured["inner"] == width
    assert measured["images"] >= 8
    expected = {"wide": [], "small": 0, "cut": 0, "nameless": 0, "empty": 0}
    assert {name: measured[name] for name in expected} == expected
    assert measured["scroll"] <= width


@NEEDED
def test_print_shows_whole_tables_and_no_navigation(varied: Audit, tmp_path: Path) -> None:
    """The rules for print are applied to the screen, and the page is measured again at the width of paper."""
    page = render(varied).replace("@media print", "@media all")
    assert page != render(varied), "there are rules for print"
    measure = """<script>
    const hidden = [...document.querySelectorAll(".scroll")].filter((element) =>
      element.scrollHeight > element.clientHeight + 1 || element.scrollWidth > element.clientWidth + 1);
    const nav = document.querySelector("nav.contents");
    parent.postMessage(JSON.stringify({
      cut: hidden.map((element) => element.getAttribute("aria-labelledby")),
      nav: getComputedStyle(nav).display,
    }), "*");
    </script></body>"""
    assert probed(page, measure, 720, tmp_path) == {"cut": [], "nav": "none"}
