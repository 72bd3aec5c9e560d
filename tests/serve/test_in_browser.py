"""Every tab in a real browser: by files, drop, paste, camera and keyboard, on a desktop and a phone, with axe."""

import base64
import io

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from fecnet.serve.app import build_app
from fecnet.web.server import served
from tests.browser import open_browser, open_page
from tests.serve.conftest import STRANGE, picture, png

OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
ONE, OTHER = png(picture(1, (10, 10))), png(picture(2, (150, 20)))
TWO, NONE = png(picture(3, (10, 10), (150, 100))), png(picture(0))


@pytest.fixture(scope="module")
def browser():
    with open_browser(*CAMERA) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(encoder, parts):
    with served(build_app(encoder, **parts)) as address:
        yield address


@pytest.fixture(params=[(1280, False), (390, True)], ids=["desktop", "phone"])
def page(request, browser, address):
    """The page, on which nothing may be logged, asked of elsewhere, or wider than the window."""
    width, dark = request.param
    with open_page(browser, f"{address}/", width=width, dark=dark) as (opened, told, asked):
        opened.wait_for_selector("html[data-ready]")
        yield opened
        assert [line for line in told if "status of 422" not in line] == []  # how browsers log that there is no face
        assert [url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))] == []


def files(*contents):
    return [{"name": f"{n}.png", "mimeType": "image/png", "buffer": content} for n, content in enumerate(contents)]


def check(page):
    """No violation that axe finds, and no wider than the window."""
    page.wait_for_timeout(450)  # until bars have grown: axe measures colours as they are
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []
    assert page.evaluate(OVERFLOW) <= 0


def give(page, how, *contents, target="document.body"):
    """Photos that are dropped or pasted."""
    page.evaluate(
        """([how, contents, target]) => {
          const data = new DataTransfer();
          contents.forEach((text, n) => {
            const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
            data.items.add(new File([bytes], `${n}.png`, { type: "image/png" }));
          });
          const options = { bubbles: true, cancelable: true };
          const event = how === "drop"
            ? new DragEvent("drop", { ...options, dataTransfer: data })
            : new ClipboardEvent("paste", { ...options, clipboardData: data });
          eval(target).dispatchEvent(event);
        }""",
        [how, [base64.b64encode(content).decode() for content in contents], target],
    )


def test_the_odd_one_out(page, encoder):
    check(page)
    inputs = page.locator("#odd .slot input")
    for n, content in enumerate((ONE, OTHER, TWO)):
        inputs.nth(n).set_input_files(files(content))
    verdict = page.locator("#odd .verdict")
    odd = "ABC"[encoder.odd_one_out(ONE, OTHER, TWO)]
    assert verdict.locator("h2").inner_text() == f"{odd} is the odd one out"
    assert page.locator(".slot.odd").get_attribute("data-name") == odd
    assert page.locator("#odd .slot .cut").count() == 4 and page.locator("#odd .box").count() == 4
    shown = [float(text) for text in verdict.locator(".pairs li > :last-child").all_inner_texts()]
    assert shown == pytest.approx(
        [encoder.distance(a, b) for a, b in ((ONE, OTHER), (ONE, TWO), (OTHER, TWO))], abs=6e-4
    )
    check(page)
    before = verdict.locator(".pairs").inner_text()
    page.get_by_role("button", name="face 2 of 2").click()  # another answer, by the other face
    page.wait_for_function(
        "before => ![undefined, before].includes(document.querySelector('.pairs')?.innerText)", arg=before
    )
    boxes = [None, None, encoder.find_faces([TWO], faces="all")[1].box_4.tolist()]
    chosen = [float(text) for text in verdict.locator(".pairs li > :last-child").all_inner_texts()]
    assert chosen[0] == shown[0]
    assert chosen[1] == pytest.approx(encoder.distance(ONE, TWO, boxes=[None, boxes[2]]), abs=0.05)
    page.get_by_role("button", name="Remove B").click()
    assert verdict.count() == 0
    page.get_by_role("button", name="Start over").click()
    assert page.locator("#odd .slot.full").count() == 0


def test_dropped_and_pasted_photos_find_their_places(page):
    give(page, "paste", ONE)
    give(page, "paste", TWO)
    page.locator("#odd .slot[data-name=B] .pick").first.wait_for()
    assert page.locator("#odd .slot[data-name=A] .cut").count() == 1
    give(page, "drop", OTHER, target="document.querySelectorAll('#odd .slot')[2]")
    page.locator("#odd .verdict").wait_for()
    give(page, "drop", ONE, ONE, ONE)  # three replace all
    page.get_by_text("No odd one: two pairs are equally close").wait_for()
    check(page)
    give(page, "drop", ONE, ONE, ONE, ONE)
    page.get_by_text("4 photos for 3 places.").wait_for()
    page.get_by_role("button", name="Remove A").click()
    give(page, "paste", b"no picture")
    page.get_by_text("not an image in a known format").wait_for()
    page.get_by_role("tab", name="Look-alikes").click()
    give(page, "drop", ONE, TWO)
    page.get_by_text("One photo at a time.").wait_for()


def test_what_cannot_be_answered_is_said_beside_the_photo(page):
    inputs = page.locator("#odd .slot input")
    inputs.nth(0).set_input_files(files(NONE))
    inputs.nth(1).set_input_files(files(b"no picture"))
    page.evaluate("document.querySelector('main').dataset.maxPhoto = 1000000")
    inputs.nth(2).set_input_files(files(bytes(1_000_001)))
    for slot, text in zip(
        "ABC", ("no face found; ", "not an image in a known format", "A photo of 2 MB; allowed are 1 MB."), strict=True
    ):
        page.locator(f"#odd .slot[data-name={slot}] .problem", has_text=text).wait_for()
    assert page.locator("#odd .verdict").count() == 0
    check(page)


def test_a_photo_is_shown_as_it_was_read(browser, address):
    """Chromium does not turn a WebP as its EXIF says: the frame would lie elsewhere."""
    exif, held = Image.Exif(), io.BytesIO()
    exif[0x112] = 6
    Image.open(io.BytesIO(ONE)).save(held, "WEBP", exif=exif.tobytes())
    with open_page(browser, f"{address}/") as (page, _, _):
        page.locator("#odd .slot input").first.set_input_files(
            [{"name": "a.webp", "mimeType": "image/webp", "buffer": held.getvalue()}]
        )
        page.locator("#odd .slot .box").wait_for()
        image = page.locator("#odd .slot .frame img")
        sides = image.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])")
        assert sides == [200, 300]


def test_the_camera_gives_a_photo(page):
    slot = page.locator("#odd .slot[data-name=A]")
    slot.get_by_role("button", name="Camera").click()
    page.locator("#camera .take:not([disabled])").wait_for()
    check(page)
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#odd .slot.full").count() == 0
    slot.get_by_role("button", name="Camera").click()
    page.locator("#camera .take:not([disabled])").click()
    slot.locator(".frame img").wait_for()
    assert slot.locator(".frame img").evaluate("image => image.decode().then(() => image.naturalWidth)") >= 320
    page.locator("#odd .slot.full:not(.busy)").wait_for()
    assert page.locator("video").evaluate("video => video.srcObject") is None


def test_look_alikes_and_on_from_one(page, index):
    page.get_by_role("tab", name="Look-alikes").click()
    check(page)
    page.locator("#alike .slot input").set_input_files(files(ONE))
    items = page.locator("#alike .gallery li")
    items.first.wait_for()
    assert items.count() == len(index)
    assert page.locator(".gallery .name", has_text=STRANGE).count() == 1  # as text
    page.wait_for_function(
        "() => [...document.querySelectorAll('.gallery img')].every(image => image.naturalWidth === 192)"
    )
    check(page)
    name = items.nth(2).locator(".name").inner_text()
    items.nth(2).locator(".face").click()
    page.wait_for_function("count => document.querySelectorAll('.gallery li').length === count", arg=len(index) - 1)
    assert page.locator(".trail li").all_inner_texts() == ["your photo", name]
    items.first.get_by_role("button", name="The whole photo").click()
    page.wait_for_function("() => document.querySelector('#whole img').naturalWidth === 300")
    check(page)
    page.get_by_role("button", name="Close").click()
    page.locator(".trail button").first.click()
    page.wait_for_function("count => document.querySelectorAll('.gallery li').length === count", arg=len(index))
    assert page.locator(".trail li").count() == 1


def test_expressions_of_several_photos_and_faces(page, encoder):
    page.get_by_role("tab", name="Expression").click()
    check(page)
    page.locator("#expression .slot input").set_input_files(files(ONE, TWO, NONE))
    results = page.locator("#expression .result")
    results.nth(2).wait_for()
    faces = encoder.analyze(ONE)
    assert results.first.locator(".class").first.inner_text() == faces[0].expression
    assert results.first.locator(".classes li").count() == len(encoder.classes)
    two = encoder.analyze(TWO)
    for n, face in enumerate(two):
        results.nth(1).locator(".pick").nth(n).click()
        shown = results.nth(1).locator(".classes li").first.inner_text()
        assert f"{100 * face.probability_K.max():.0f} %" in shown and face.expression in shown
    assert "no face found" in results.nth(2).inner_text()
    check(page)
    results.nth(1).get_by_role("button", name="Remove this photo").click()
    assert results.count() == 2


def test_the_map_by_pointer_and_keyboard(page):
    page.get_by_role("tab", name="Map").click()
    sheet, found = page.locator(".sheet"), page.locator(".found")
    page.wait_for_function("() => document.querySelector('.sheet img').naturalWidth > 0")
    check(page)
    page.get_by_role("button", name="Any face").click()
    found.locator(".near-faces button").nth(11).wait_for()
    first = found.locator(".chosen").get_attribute("alt")
    check(page)
    wanted = found.locator(".near-faces button").first.get_attribute("aria-label")
    found.locator(".near-faces button").first.click()
    page.wait_for_function("alt => document.querySelector('.chosen').alt !== alt", arg=first)
    assert f"Go on to {found.locator('.chosen').get_attribute('alt').removeprefix('Face of ')}," in wanted
    page.wait_for_function("() => !document.querySelector('.here').hidden")
    before = found.locator(".chosen").get_attribute("alt")
    page.get_by_role("button", name="All").click()
    sheet.focus()
    for key in ("+", "+", "ArrowRight", "ArrowDown", "ArrowDown", "-"):
        page.keyboard.press(key)
    moved = sheet.locator("img").evaluate("image => image.style.transform")
    assert "scale(1.3)" in moved
    page.keyboard.press("Enter")
    page.wait_for_function("alt => document.querySelector('.chosen').alt !== alt", arg=before)
    box = sheet.bounding_box()
    was = sheet.locator("img").evaluate("image => image.style.transform")
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 150, steps=4)
    page.mouse.up()
    assert sheet.locator("img").evaluate("image => image.style.transform") != was
    page.mouse.wheel(0, -300)
    page.wait_for_function("was => document.querySelector('.sheet img').style.transform !== was", arg=was)


def test_tabs_by_keyboard_and_address(page, address):
    page.get_by_role("tab", name="Odd one out").focus()
    for key, name in (("ArrowRight", "alike"), ("End", "map"), ("ArrowRight", "odd"), ("ArrowLeft", "map")):
        page.keyboard.press(key)
        assert page.locator("section:visible").get_attribute("id") == name
        assert page.evaluate("document.activeElement.id") == f"tab-{name}"
    page.goto(f"{address}/#expression")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("section:visible").get_attribute("id") == "expression"


def test_the_page_of_the_interface(page, address):
    page.get_by_role("link", name="JSON").click()
    page.get_by_text("photos[].faces[].box").first.wait_for()
    check(page)
    assert f"{address}/api/odd" in page.locator("pre").first.inner_text()


def test_a_server_that_is_gone_is_told(browser, encoder):
    with served(build_app(encoder)) as address:
        opened = browser.new_page()
        opened.goto(address)
        opened.wait_for_selector("html[data-ready]")
        opened.get_by_role("tab", name="Map").click()
        assert "fecnet serve --map datasets/mine" in opened.locator("#map").inner_text()
        opened.get_by_role("tab", name="Odd one out").click()
    opened.locator("#odd .slot input").first.set_input_files(files(ONE))
    opened.get_by_text("The server does not answer. Is it still running?").wait_for()
    opened.close()


def test_inline_scripts_do_not_run(browser, address):
    with open_page(browser, address) as (opened, told, _):
        opened.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
        opened.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {text: 'document.title=2'}))"
        )
        opened.wait_for_timeout(300)
        assert opened.title().startswith("fecnet: ")
        assert any("Content Security Policy" in line for line in told)
