"""The page in a real browser: whole without network, nothing logged, no wider than the window, light and dark."""

from pathlib import Path

import pytest

from fecnet.cli.main import main
from tests.browser import open_browser
from tests.run_page.runs import HOSTILE

OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    """A page of every kind of run, as an address."""
    output = tmp_path_factory.mktemp("page") / "report.html"
    names = ("embedding", "classifier", "joint", "affect", "unmeasured")
    assert main(["report", *(str(runs / name) for name in names), "--output", str(output)]) == 0
    return output.as_uri()


def test_the_browser_tells_what_is_wrong_with_a_page(browser, tmp_path):
    # else the tests below could not fail
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><img src='http://nowhere.invalid/x.png'><div style='width:5000px'>x</div>"
        "<script>console.log('said'); undefined.x</script>"
    )
    browser.open(bad.as_uri())
    told = "\n".join(browser.complaints())
    assert "said" in told and "TypeError" in told and "ERR_" in told
    assert browser.requests() == ["http://nowhere.invalid/x.png"]
    assert browser.evaluate(OVERFLOW) > 1000


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_is_whole_quiet_and_fits(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    assert browser.complaints() == []
    assert browser.requests() == []
    assert browser.evaluate(OVERFLOW) <= 0
    headings = browser.evaluate("[...document.querySelectorAll('h2')].map(node => node.textContent)")
    assert headings == ["Side by side", "embedding", "classifier", "joint", "affect", "unmeasured"]
    assert browser.evaluate("document.querySelectorAll('h3').length") == 5 * 5
    assert browser.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert browser.evaluate("document.images.length") > 50
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")


def test_text_of_files_stays_text(browser, page):
    browser.open(page)
    rows = browser.evaluate("[...document.querySelectorAll('.confusion tbody th')].map(node => node.textContent)")
    assert rows[: len(HOSTILE)] == list(HOSTILE)
    assert browser.evaluate("document.querySelectorAll('img:not([src^=\"data:\"])').length") == 0


def test_even_a_script_that_got_in_would_not_run(browser, page, tmp_path):
    text = Path(page.removeprefix("file://")).read_text()
    bad = tmp_path / "bad.html"
    bad.write_text(text.replace("<footer>", "<script>document.title = 'ran'</script><footer>"))
    browser.open(bad.as_uri())
    assert browser.evaluate("document.title") != "ran"
    assert any("Content Security Policy" in told for told in browser.complaints())


def test_the_map_tells_the_face_under_the_pointer(browser, page):
    browser.open(page)
    place = browser.evaluate(
        """(() => {
          const map = document.querySelectorAll(".face-map")[1], image = map.querySelector("img");
          const told = JSON.parse(map.querySelector("script").textContent);
          const [cell, face] = Object.entries(told.cells)[0];
          const box = image.getBoundingClientRect();
          const x = box.left + (cell % told.side + 0.5) / told.side * box.width;
          const y = box.top + (Math.floor(cell / told.side) + 0.5) / told.side * box.height;
          scrollBy(0, y - 300);
          return [x, 300, face[0], told.classes[face[1]] ?? "", told.classes[face[2]], face[3]];
        })()"""
    )
    x, y, row, label, called, percent = place
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    tips = browser.evaluate("[...document.querySelectorAll('.tip')].filter(t => !t.hidden).map(t => t.textContent)")
    wanted = [f"face {row}", *([f"label: {label}"] if label else []), f"called: {called}, {percent} %"]
    assert tips == ["\n".join(wanted)]
    assert browser.complaints() == []
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert browser.evaluate("[...document.querySelectorAll('.tip')].every(tip => tip.hidden)")


def test_without_scripts_everything_is_there_and_the_map_grows(browser, page):
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page, width=400)
        seen = "document.querySelectorAll('.face-map img')[0].getBoundingClientRect().width"
        small = browser.evaluate(seen)
        browser.evaluate("document.querySelector('.face-map .full').checked = true")
        assert browser.evaluate(seen) > small
        assert browser.evaluate(OVERFLOW) <= 0
        assert browser.evaluate("document.querySelectorAll('.tip').length") == 0
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)
