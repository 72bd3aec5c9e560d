"""The page in a real browser: whole without network, nothing logged, no wider than the window, light and dark."""

from pathlib import Path

import pytest

from fecnet.cli.main import main
from tests.browser import open_browser, open_page
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


def others(asked):
    """Addresses outside the page: not its own, which comes first, nor what lies inside it."""
    return [url for url in asked[1:] if not url.startswith("data:")]


def test_the_browser_tells_what_is_wrong_with_a_page(browser, tmp_path):
    # else the tests below could not fail
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><img src='http://nowhere.invalid/x.png'><div style='width:5000px'>x</div>"
        "<script>console.log('said'); undefined.x</script>"
    )
    with open_page(browser, bad.as_uri()) as (opened, told, asked):
        assert opened.evaluate(OVERFLOW) > 1000
    text = "\n".join(told)
    assert "said" in text and "Cannot read properties of undefined" in text and "ERR_" in text
    assert others(asked) == ["http://nowhere.invalid/x.png"]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_is_whole_quiet_and_fits(browser, page, width, dark):
    with open_page(browser, page, width=width, dark=dark) as (opened, told, asked):
        assert told == [] and others(asked) == []
        assert opened.evaluate(OVERFLOW) <= 0
        assert opened.locator("h2").all_text_contents() == [
            *("Side by side", "embedding", "classifier", "joint", "affect", "unmeasured")
        ]
        assert opened.locator("h3").count() == 5 * 5
        assert opened.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert opened.locator("img").count() > 50
        ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")


def test_text_of_files_stays_text(browser, page):
    with open_page(browser, page) as (opened, _, _):
        rows = opened.locator(".confusion tbody th").all_text_contents()
        assert rows[: len(HOSTILE)] == list(HOSTILE)
        assert opened.locator('img:not([src^="data:"])').count() == 0


def test_even_a_script_that_got_in_would_not_run(browser, page, tmp_path):
    text = Path(page.removeprefix("file://")).read_text()
    bad = tmp_path / "bad.html"
    bad.write_text(text.replace("<footer>", "<script>document.title = 'ran'</script><footer>"))
    with open_page(browser, bad.as_uri()) as (opened, told, _):
        assert opened.title() != "ran"
    assert any("Content Security Policy" in line for line in told)


def test_the_map_tells_the_face_under_the_pointer(browser, page):
    with open_page(browser, page) as (opened, told, _):
        place = opened.evaluate(
            """(() => {
              const map = document.querySelectorAll(".face-map")[1], image = map.querySelector("img");
              const data = JSON.parse(map.querySelector("script").textContent);
              const [cell, face] = Object.entries(data.cells)[0];
              const box = image.getBoundingClientRect();
              const x = box.left + (cell % data.side + 0.5) / data.side * box.width;
              const y = box.top + (Math.floor(cell / data.side) + 0.5) / data.side * box.height;
              scrollBy(0, y - 300);
              return [x, 300, face[0], data.classes[face[1]] ?? "", data.classes[face[2]], face[3]];
            })()"""
        )
        x, y, row, label, predicted, percent = place
        opened.mouse.move(x, y)
        wanted = [f"face {row}", *([f"label: {label}"] if label else []), f"predicted: {predicted}, {percent} %"]
        assert opened.locator(".tip:visible").all_text_contents() == ["\n".join(wanted)]
        assert told == []
        opened.mouse.move(1, 1)
        assert opened.locator(".tip:visible").count() == 0


def test_without_scripts_everything_is_there_and_the_map_grows(browser, page):
    with open_page(browser, page, width=400, scripts=False) as (opened, _, _):
        image = opened.locator(".face-map img").first
        small = image.bounding_box()["width"]
        opened.locator(".face-map .full").first.check()
        assert image.bounding_box()["width"] > small
        assert opened.evaluate(OVERFLOW) <= 0
        assert opened.locator(".tip").count() == 0
