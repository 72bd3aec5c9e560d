"""The system's Chromium, driven by Playwright: what a page logs, asks the network for, and looks like."""

import contextlib
import shutil

import pytest
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
)


@contextlib.contextmanager
def open_browser(*flags):
    """A browser without a window, with further flags; skips the test where there is none.

    Playwright's own cannot be had everywhere.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no chromium here; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*FLAGS, *flags])
        yield browser
        browser.close()


@contextlib.contextmanager
def open_page(browser, url, *, width=1280, dark=False, scripts=True):
    """A page with all of it loaded, what it and the browser logged, and the addresses asked for besides its own."""
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
    )
    told, asked = [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => 0)))")
    try:
        yield page, told, asked
    finally:
        page.close()
