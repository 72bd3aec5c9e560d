"""A rater's page and the owner's in Chromium: sessions, windows, lost connections, keyboards, accessibility."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from fecnet.rate.raters import open_link
from fecnet.rate.serving import guarded
from fecnet.web.server import served
from tests.browser import open_browser
from tests.rate.pages import OWNER, link
from tests.rate.studies import answer_all, invited, make_study

DESKTOP, PHONE = (1280, 800), (390, 844)
TASKS = 7  # of a rater


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rate")
    with make_study(folder, num_photos=12, triplets=40, raters=200, per_rater=TASKS) as made:
        yield made


@pytest.fixture(scope="module")
def base(study):
    with served(guarded(study, OWNER)) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture
def context(browser):
    """Opens contexts of a size, which are closed at the end; nothing may be logged or asked of others."""
    opened, told, asked = [], [], set()

    def open_context(size=DESKTOP, **options):
        width, height = size
        is_phone = width < 500
        viewport = {"width": width, "height": height}
        made = browser.new_context(viewport=viewport, has_touch=is_phone, is_mobile=is_phone, **options)
        made.set_default_timeout(10_000)
        made.on("console", lambda message: told.append(message.text))
        made.on("weberror", lambda error: told.append(str(error.error)))
        made.on("request", lambda request: asked.add(re.match(r"[a-z]+:(//[^/]*)?", request.url)[0]))
        opened.append(made)
        return made

    open_context.told, open_context.asked = told, asked
    yield open_context
    for made in opened:
        made.close()


def begin(context, address, **options):
    """A page that shows the first task."""
    page = context.new_page()
    page.goto(address)
    page.get_by_role("button", name="I agree, begin").click()
    wait_for(page, 1)
    return page


def wait_for(page, number):
    """Until a task is there with its pictures, and its choice may be made."""
    expect(page.locator("#told")).to_contain_text(f"Question {number}:")
    expect(page.locator(".face.loading")).to_have_count(0)
    page.wait_for_timeout(250)


def face(page, place):
    return page.get_by_role("button", name=f"Face {place + 1}")


def stored(study, address):
    """Answers of the rater with this page that count: number of the task, and the place chosen."""
    from fecnet.rate.raters import find_rater

    rater = find_rater(study, address.rpartition("/")[2])
    rows = study.rows(
        "SELECT number, shown, choice, seconds FROM tasks JOIN answers ON task = tasks.id AND replaced_at IS NULL "
        "WHERE rater = ? ORDER BY number",
        rater.id,
    )
    return [(row[0], None if row[2] is None else row[1].index(str(row[2]))) for row in rows]


def wait_until_stored(page, study, address, expected):
    for _ in range(80):
        if stored(study, address) == expected:
            return
        page.wait_for_timeout(100)
    assert stored(study, address) == expected


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_session(study, base, context, size):
    address = base + link(study)
    page = begin(context(size), address)
    assert page.locator("#count").inner_text() == f"0 of {TASKS}"
    choices = []
    for number in range(1, TASKS + 1):
        wait_for(page, number)
        box = page.locator(".faces").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= size[1]  # all three without scrolling
        place = None if number == 4 else number % 3
        button = page.get_by_role("button", name="Cannot tell") if place is None else face(page, place)
        if size == PHONE:
            button.tap()
        elif number % 2:
            button.click()
        else:
            page.keyboard.press("0" if place is None else str(place + 1))
        choices.append((number, place))
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    wait_until_stored(page, study, address, choices)
    assert page.locator("#count").inner_text() == f"{TASKS} of {TASKS}"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not context.told and context.asked <= {base, base.replace("http:", "data:")}
    seconds = study.rows("SELECT min(seconds), max(seconds) FROM answers")[0]
    assert 0.1 < seconds[0] <= seconds[1] < 30


def test_back_shows_and_changes_an_answer(study, base, context):
    address = base + link(study)
    page = begin(context(), address)
    face(page, 0).click()
    wait_for(page, 2)
    face(page, 1).click()
    wait_for(page, 3)
    page.get_by_role("button", name="Back").click()
    wait_for(page, 2)
    expect(face(page, 1)).to_have_attribute("aria-pressed", "true")
    page.go_back()  # of the browser
    wait_for(page, 3)
    page.go_back()
    wait_for(page, 2)
    face(page, 2).click()
    wait_for(page, 3)
    wait_until_stored(page, study, address, [(1, 0), (2, 2)])
    page.keyboard.press("ArrowLeft")
    wait_for(page, 2)
    expect(face(page, 2)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Next").click()
    wait_for(page, 3)


def test_a_double_click_is_one_answer(study, base, context):
    address = base + link(study)
    page = begin(context(), address)
    face(page, 1).dblclick()
    wait_for(page, 2)
    page.keyboard.press("1")
    page.keyboard.press("1")  # before the next is there
    wait_for(page, 3)
    wait_until_stored(page, study, address, [(1, 1), (2, 0)])


def test_a_reload_goes_on_where_it_was(study, base, context):
    address = base + link(study)
    page = begin(context(), address)
    face(page, 2).click()
    wait_for(page, 2)
    wait_until_stored(page, study, address, [(1, 2)])
    page.reload()
    wait_for(page, 2)  # without the instructions again
    assert page.locator("#count").inner_text() == f"1 of {TASKS}"
    page.get_by_role("button", name="Back").click()
    wait_for(page, 1)
    expect(face(page, 2)).to_have_attribute("aria-pressed", "true")


def test_two_windows_with_one_link_count_once(study, base, context):
    address = base + link(study)
    both = context()
    one = begin(both, address)
    other = both.new_page()
    other.goto(address)
    wait_for(other, 1)
    face(one, 0).click()
    wait_for(one, 2)
    wait_until_stored(one, study, address, [(1, 0)])
    face(other, 2).click()
    expect(other.locator("#told")).to_have_text("Question 1 was answered already, in another window.")
    other.wait_for_timeout(300)
    assert stored(study, address) == [(1, 0)]
    wait_for(other, 2)
    face(other, 1).click()
    wait_until_stored(other, study, address, [(1, 0), (2, 1)])


def test_offline_for_a_moment(study, base, context):
    address = base + link(study)
    lost = context()
    page = begin(lost, address)
    lost.set_offline(True)
    face(page, 0).click()
    wait_for(page, 2)  # the next faces are there already
    expect(page.locator("#problem")).to_contain_text("No connection. Your answers are kept here and sent again.")
    face(page, 1).click()
    wait_for(page, 3)
    assert stored(study, address) == []
    lost.set_offline(False)
    wait_until_stored(page, study, address, [(1, 0), (2, 1)])
    expect(page.locator("#problem")).to_be_hidden()
    face(page, 2).click()
    wait_until_stored(page, study, address, [(1, 0), (2, 1), (3, 2)])


def test_an_answer_that_is_not_stored_survives_a_reload(study, base, context):
    address = base + link(study)
    page = begin(context(), address)
    full = {"status": 507, "content_type": "application/json", "body": '{"error": "no room on the disk"}'}
    page.route("**/answers", lambda route: route.fulfill(**full))
    face(page, 1).click()
    expect(page.locator("#problem")).to_contain_text("The server could not store this (no room on the disk)")
    wait_for(page, 2)
    page.reload()
    wait_for(page, 2)
    assert stored(study, address) == []
    page.unroute("**/answers")
    wait_until_stored(page, study, address, [(1, 1)])
    expect(page.locator("#problem")).to_be_hidden()


def test_an_acknowledgement_that_is_lost_counts_once(study, base, context):
    address = base + link(study)
    page = begin(context(), address)
    times = []

    def lose(route):
        times.append(route.fetch().status)
        if len(times) == 1:
            route.abort()
        else:
            route.continue_()

    page.route("**/answers", lose)
    face(page, 1).click()
    wait_for(page, 2)
    page.wait_for_timeout(1500)
    assert times == [200, 200] and stored(study, address) == [(1, 1)]
    assert page.evaluate("Object.keys(localStorage).filter((name) => name.includes('answer')).length") == 0


def test_paused_and_excluded(study, base, context):
    from fecnet.rate.raters import exclude, find_rater

    address = base + link(study)
    page = begin(context(), address)
    study.set(stopped=True)
    try:
        face(page, 0).click()
        expect(page.locator("#problem")).to_contain_text("The study is paused.")
    finally:
        study.set(stopped=False)
    wait_until_stored(page, study, address, [(1, 0)])
    exclude(study, find_rater(study, address.rpartition("/")[2]).id)
    page.reload()
    expect(page.get_by_text("This link is no longer in use.")).to_be_visible()


def test_the_keyboard_alone(study, base, context):
    address = base + link(study)
    page = context().new_page()
    page.goto(address)
    expect(page.get_by_role("button", name="I agree, begin")).to_be_focused()
    page.keyboard.press("Enter")
    wait_for(page, 1)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.place") == "1":
            break
    page.keyboard.press("Enter")
    wait_for(page, 2)
    wait_until_stored(page, study, address, [(1, 1)])
    page.get_by_role("button", name="Instructions").click()
    page.get_by_role("button", name="Go on").click()
    page.keyboard.press("3")
    wait_until_stored(page, study, address, [(1, 1), (2, 2)])


def test_the_open_link(study, base, context):
    page = context().new_page()
    page.goto(f"{base}/join/{open_link(study)}")
    page.get_by_role("button", name="I agree, begin").click()
    wait_for(page, 1)  # agreed already
    assert re.fullmatch(rf"{base}/r/[\w-]+", page.url)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_stands_in_anybodys_way(study, base, context, scheme, size):
    answer_all(study, invited(study)[0])
    page = context(size, color_scheme=scheme).new_page()

    def check(what):
        found = Axe().run(page)
        assert not found.response["violations"], (what, found.generate_report())

    page.goto(base + link(study))
    expect(page.get_by_role("button", name="I agree, begin")).to_be_visible()
    check("instructions")
    page.get_by_role("button", name="I agree, begin").click()
    wait_for(page, 1)
    check("task")
    page.evaluate("finish('done')")
    check("end")
    page.goto(f"{base}/owner/{OWNER}")
    check("owner")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.goto(f"{base}/r/unknown")
    check("unknown")
    assert not context.told or context.told == [
        "Failed to load resource: the server responded with a status of 404 (Not Found)"
    ]


def test_the_owner_stops_and_excludes(study, base, context):
    rater = invited(study)[0]
    answer_all(study, rater)
    page = context().new_page()
    page.goto(f"{base}/owner/{OWNER}")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Paused")).to_be_visible()
    assert study.setting("stopped")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Taking answers")).to_be_visible()
    page.get_by_role("button", name=f"Exclude rater-{rater.id:03d}").click()
    expect(page.get_by_role("button", name=f"Include rater-{rater.id:03d}")).to_be_visible()
    page.get_by_role("button", name=f"Include rater-{rater.id:03d}").click()
    assert not context.told
