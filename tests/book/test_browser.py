"""Every page in a real browser: light, dark and phone width; no error, no remote request, no accessibility violation.

Needs a Chromium on this machine (Debian: ``apt-get install chromium``); skips, with this reason, where there is none.
"""

import contextlib
import functools
import http.server
import shutil
import threading

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
# Of the theme, not of our content: a title link outside the landmarks, buttons whose names differ from their labels.
THEME = {"region", "label-content-name-mismatch"}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")


@contextlib.contextmanager
def served(folder):
    """Serve a folder on a free port of this machine; gives the address and the paths that were not found."""
    missing = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def send_error(self, code, *arguments):
            missing.append(self.path)
            super().send_error(code, *arguments)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", missing
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def faults(browser, address, path, view):
    """What is wrong with a page in one view."""
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(**VIEWS[view])
    page, found = context.new_page(), []
    page.on("pageerror", lambda error: found.append(f"page error: {error}"))
    page.on("console", lambda message: message.type == "error" and found.append(f"console: {message.text}"))

    def local_only(route):
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            found.append(f"asks {route.request.url}")
            route.abort()

    context.route("**/*", local_only)
    page.goto(f"{address}/{path}")
    page.wait_for_load_state("networkidle")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        found.append(f"the page is {wide} px wider than the window")
    theme = page.evaluate("document.documentElement.dataset.theme")
    if theme != VIEWS[view]["color_scheme"]:
        found.append(f"shows the {theme} theme")
    settled = len(found)  # axe fetches style sheets by itself; what it asks is not the page's doing
    violations = Axe().run(page).response["violations"]
    del found[settled:]
    for violation in violations:
        if violation["id"] not in THEME:
            found.append(f"axe {violation['id']}: {violation['nodes'][0]['html'][:160]}")
    context.close()
    return found


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_is_clean(book, browser, view):
    _, html = book
    pages = sorted(
        str(path.relative_to(html)) for folder in ("book", "notebooks") for path in (html / folder).glob("*.html")
    )
    assert len(pages) >= 5
    with served(html) as (address, _):
        found = {path: faults(browser, address, path, view) for path in pages}
    assert {path: reasons for path, reasons in found.items() if reasons} == {}


def test_search_finds_a_word_of_a_chapter(book, browser):
    _, html = book
    with served(html) as (address, _):
        page = browser.new_page()
        page.goto(f"{address}/search.html?q=hyperventilation")
        page.wait_for_selector("#search-results li a", timeout=10_000)
        assert "Start here" in page.inner_text("#search-results")
        page.close()


BROKEN = {
    "page error": "<script>throw new Error('broken')</script>",
    "console": "<script>console.error('broken')</script>",
    "asks https://example.org": "<img alt='a picture from afar' src='https://example.org/a.png'>",
    "wider than the window": "<div style='width: 5000px'>wide</div>",
    "axe image-alt": "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>",
    "axe color-contrast": "<p style='color: #ccc; background: #fff'>pale words</p>",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_page_is_red(tmp_path, browser, fault):
    page = (
        f"<!doctype html><html lang=en data-theme=light><title>t</title><main><h1>t</h1>{BROKEN[fault]}</main></html>"
    )
    (tmp_path / "page.html").write_text(page)
    with served(tmp_path) as (address, _):
        assert any(fault in found for found in faults(browser, address, "page.html", "light"))
