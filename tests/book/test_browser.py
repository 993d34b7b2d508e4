"""Every page in a real browser, served and from disk, with the network off: light, dark and on a phone.

No page error, no console error, nothing asked of a remote host, no accessibility violation, nothing wider than the
window; formulas are typeset, and each control of an explorer moves its frame. Each page is loaded twice: over HTTP on a
desktop, in light and then in dark; from disk on a phone.

Contrast is by far the slowest of axe's rules, so it looks at one text of each kind: of one color, ground, size, weight.

Needs a Chromium on this machine (Debian: ``apt-get install chromium``); skips, with this reason, where there is none.
"""

import contextlib
import functools
import http.server
import re
import shutil
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
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
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# Of the theme, not of our content: a title link outside the landmarks, buttons whose names differ from their labels.
THEME = {"region", "label-content-name-mismatch"}
PAGES = re.findall(r"^\s*-?\s*(?:file|root):\s*(\S+)", (ROOT / "_toc.yml").read_text(), re.M)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")


@contextlib.contextmanager
def serve(folder):
    """Serve a folder on a free port of this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def site(book):
    """Address of the built book."""
    with serve(book[1]) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@contextlib.contextmanager
def opened(browser, address, viewport=DESKTOP):
    """A page that may ask its own host, or the disk, alone; and the list of what goes wrong on it, which grows."""
    mine = (address[: address.index("/", len("http://"))], "data:", "blob:")
    context, found = browser.new_context(viewport=viewport, color_scheme="light", reduced_motion="reduce"), []
    page = context.new_page()
    page.on("pageerror", lambda error: found.append(f"page error: {error}"))
    page.on("console", lambda message: message.type == "error" and found.append(f"console: {message.text}"))

    def mine_only(route):
        if route.request.url.startswith(mine):
            route.continue_()
        else:
            found.append(f"asks {route.request.url}")
            route.abort()

    context.route("**/*", mine_only)
    page.goto(address)
    try:
        yield page, found
    finally:
        context.close()


def served_faults(browser, address):
    """What is wrong with a page over HTTP, on a desktop, in light and in dark."""
    with opened(browser, address) as (page, found):
        page.wait_for_load_state("networkidle")
        found += too_wide(page) + violations(page, found)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
            theme = page.evaluate("document.documentElement.dataset.theme")
            found += [] if theme == scheme else [f"shows the {theme} theme in {scheme}"]
            found += [f"{scheme}: {fault}" for fault in pale_texts(page, found)]
        return found


def disk_faults(browser, path):
    """What is wrong with a page opened from disk, on a phone: no server, so nothing may depend on one."""
    with opened(browser, path.as_uri(), PHONE) as (page, found):
        found += too_wide(page) + plain_formulas(page) + stuck_explorers(page)
        return found + violations(page, found)


def too_wide(page):
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"the page is {wide} px wider than the window"] if wide > 0 else []


def violations(page, found, context=None, rules=None):
    """What axe finds, contrast aside; it fetches style sheets by itself, and what it asks is not the page's doing."""
    from axe_playwright_python.sync_playwright import Axe

    rules = rules or {"rules": {"color-contrast": {"enabled": False}}}
    before = len(found)
    response = Axe().run(page, context, options={"resultTypes": ["violations"], **rules}).response
    del found[before:]
    return [f"axe {v['id']}: {v['nodes'][0]['html'][:160]}" for v in response["violations"] if v["id"] not in THEME]


def pale_texts(page, found):
    """Texts with too little contrast, among one of each kind."""
    page.evaluate(MARK_ONE_OF_EACH)
    return violations(page, found, "[data-one-of-each]", {"runOnly": ["color-contrast"]})


MARK_ONE_OF_EACH = """() => {
  const seen = new Set(), texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  document.querySelectorAll('[data-one-of-each]').forEach(e => e.removeAttribute('data-one-of-each'));
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement, style = getComputedStyle(element);
    if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
    const kind = [style.color, style.fontSize, style.fontWeight];
    for (let under = element; under; under = under.parentElement) {
      const { backgroundColor, opacity } = getComputedStyle(under);
      if (opacity !== '1') kind.push(opacity);
      if (backgroundColor !== 'rgba(0, 0, 0, 0)') { kind.push(backgroundColor); break; }
    }
    if (!seen.has(kind.join())) element.setAttribute('data-one-of-each', '');
    seen.add(kind.join());
  }
}"""


def plain_formulas(page):
    """Formulas that MathJax left as they were, and those that it could not read."""
    page.evaluate("window.MathJax?.startup?.promise")
    left = page.locator(".math:not(:has(mjx-container))").all_inner_texts()
    wrong = page.locator("mjx-merror").all_inner_texts()
    return [f"formula not typeset: {text}" for text in left] + [f"formula with an error: {text}" for text in wrong]


def stuck_explorers(page):
    """Explorers that show none or several of their frames, and controls that the keyboard cannot move."""
    faults = []
    for number, explorer in enumerate(page.locator(".wb-explorer").all(), start=1):
        frames = explorer.locator("figure").all() or explorer.locator("img").all()
        controls = explorer.locator("input[type=range], select").all()
        shown = [frame.is_visible() for frame in frames]
        if not controls or sum(shown) != 1:
            faults.append(f"explorer {number} has {len(controls)} controls and shows {sum(shown)} of its frames")
            continue
        for control in controls:
            control.focus()
            page.keyboard.press("ArrowDown" if control.evaluate("e => e.tagName") == "SELECT" else "ArrowRight")
            before, shown = shown, [frame.is_visible() for frame in frames]
            if shown == before or sum(shown) != 1:
                name = control.evaluate("e => e.labels[0]?.textContent ?? e.id")
                faults.append(f"explorer {number}: {name!r} does not move the frame ({sum(shown)} shown)")
    return faults


@pytest.mark.parametrize("page", PAGES)
def test_a_served_page_is_clean(site, browser, page):
    assert served_faults(browser, f"{site}/{page}.html") == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_from_disk_is_clean(book, browser, page):
    assert disk_faults(browser, book[1] / f"{page}.html") == []


def test_the_glossary_has_formulas(book, browser):
    with opened(browser, (book[1] / "book" / "glossary.html").as_uri()) as (page, _):
        assert page.locator("mjx-container").count() >= 3
        assert plain_formulas(page) == []


def search(page):
    page.wait_for_selector("#search-results li a", timeout=10_000)
    page.wait_for_function("document.querySelector('#search-results .search-summary')?.textContent.includes('found')")
    return page.inner_text("#search-results")


def test_search_finds_a_word_of_a_chapter(site, browser):
    with opened(browser, f"{site}/search.html?q=hyperventilation") as (page, found):
        results = search(page)
    assert "Start here" in results
    assert found == []


def test_search_from_disk_finds_the_page_without_its_words(book, browser):
    """A browser lets no page from disk read another one, so the list comes without excerpts, and with these errors."""
    with opened(browser, (book[1] / "search.html").as_uri() + "?q=hyperventilation") as (page, found):
        results = search(page)
    assert "Start here" in results
    allowed = ("page error: Failed to fetch", "console: Access to fetch at 'file:", "console: Failed to load resource:")
    assert [fault for fault in found if not fault.startswith(allowed)] == []


SOUND = """<!doctype html><html lang=en data-theme=light><title>t</title>
<script>
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const show = () => document.documentElement.dataset.theme = dark.matches ? 'dark' : 'light';
  show(); dark.onchange = show;
</script>
<main><h1>t</h1><p>words</p>
<div class="math"><mjx-container>x</mjx-container></div>
<div class="wb-explorer" oninput="turn(this)">
  <label for=a>edge</label><input id=a type=range max=1 value=0>
  <label for=b>filter</label><select id=b><option value=0>one</option><option value=1>two</option></select>
  <img alt="frame one of four" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">
  <img alt="frame two of four" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" hidden>
  <img alt="frame three of four" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" hidden>
  <img alt="frame four of four" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" hidden>
</div>
<style>img { width: 20px; height: 20px }</style>
<script>
  function turn(explorer) {
    const at = 2 * explorer.querySelector('input').value + 1 * explorer.querySelector('select').value;
    explorer.querySelectorAll('img').forEach((image, index) => { image.hidden = index !== at; });
  }
</script>
"""
# What a page shows, and the fault that has to be found; faults that would hide one another stand on pages of their own.
BROKEN_SERVED = {
    "at once": {
        "page error": "<script>throw new Error('broken')</script>",
        "console": "<script>console.error('broken')</script>",
        "asks https://example.org": "<img alt='a picture from afar' src='https://example.org/a.png'>",
        "wider than the window": "<div style='width: 5000px'>wide</div>",
        "axe image-alt": "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>",
        'light: axe color-contrast: <p class="pale': "<p class=pale style='color: #ccc'>pale words</p>",
    },
    "on another ground": {
        'light: axe color-contrast: <p class="gray': "<p style='color: #767676'>on white, and here</p>"
        "<p class=gray style='color: #767676; background: #eee'>on gray</p>",
    },
    "in the dark": {
        "dark: axe color-contrast": "<style>[data-theme=dark] p { color: #333; background: #222 }</style>",
    },
    "not in the dark": {
        "shows the light theme in dark": "<script>dark.onchange = null</script>",
    },
}
BROKEN_ON_DISK = {
    "at once": {
        "page error": "<script>throw new Error('broken')</script>",
        "console": "<script>fetch('page.html')</script>",
        "asks https://example.org": "<img alt='a picture from afar' src='https://example.org/a.png'>",
        "wider than the window": "<div style='width: 400px'>wide on a phone</div>",
        "axe label": "<input type=text>",
        "formula not typeset": r"<span class=math>\(x_t\)</span>",
        "formula with an error": "<mjx-container><mjx-merror>\\nothing</mjx-merror></mjx-container>",
    },
    "two frames": {
        "shows 2 of its frames": "<style>img[hidden]:nth-of-type(2) { display: inline !important }</style>",
    },
    "no controls": {
        "has 0 controls": "<script>document.querySelectorAll('label, input, select').forEach(e => e.remove())</script>",
    },
    "stuck controls": {
        "'edge' does not move": "<script>a.oninput = event => event.stopPropagation()</script>",
        "'filter' does not move": "<script>b.oninput = event => event.stopPropagation()</script>",
    },
}


def missed(snippets, found):
    """Faults that were put on a page and not found."""
    return [fault for fault in snippets if not any(fault in one for one in found)]


def test_a_sound_page_has_no_fault(tmp_path, browser):
    (tmp_path / "page.html").write_text(SOUND)
    with serve(tmp_path) as address:
        assert served_faults(browser, f"{address}/page.html") == []
    assert disk_faults(browser, tmp_path / "page.html") == []


@pytest.mark.parametrize("snippets", BROKEN_SERVED.values(), ids=BROKEN_SERVED)
def test_a_broken_served_page_is_red(tmp_path, browser, snippets):
    (tmp_path / "page.html").write_text(SOUND + "".join(snippets.values()))
    with serve(tmp_path) as address:
        assert missed(snippets, served_faults(browser, f"{address}/page.html")) == []


@pytest.mark.parametrize("snippets", BROKEN_ON_DISK.values(), ids=BROKEN_ON_DISK)
def test_a_broken_page_on_disk_is_red(tmp_path, browser, snippets):
    (tmp_path / "page.html").write_text(SOUND + "".join(snippets.values()))
    assert missed(snippets, disk_faults(browser, tmp_path / "page.html")) == []
