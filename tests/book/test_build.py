"""The book builds without a warning; its pages ask nothing of a remote host, link to what exists, and can be read.

The build runs once. Each rule is a function from a folder of HTML pages to a list of faults. It is tested on the real
book, and on broken pages that prove that it can fail.
"""

import functools
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
FETCHED_BY_LINK = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "manifest", "apple-touch-icon"}
FETCHED_ATTRIBUTES = ("src", "data", "poster")
CSS_FETCH = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])((?:https?:)?//[^'")\s]+)""", re.I)
JS_FETCH = re.compile(r"""(?:import|from|fetch\(|import\(|src\s*=)\s*['"`]((?:https?:)?//[^'"`]+)""", re.I)
MIN_ALT = 20  # characters, exclusive: shorter texts name a figure, they do not describe it


class Page(HTMLParser):
    """One parsed page: its elements, each with attributes, ancestors and text, and its ids."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.path, self.elements, self.ids, self._open = path, [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "attrs": {k: v or "" for k, v in attrs}, "inside": list(self._open), "text": ""}
        self.elements.append(element)
        self.ids |= {element["attrs"][name] for name in ("id", "name") if element["attrs"].get(name)}
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        tags = [element["tag"] for element in self._open]
        if tag in tags:
            del self._open[len(tags) - 1 - tags[::-1].index(tag) :]

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]

    def is_redirect(self):
        return any(e["attrs"].get("http-equiv", "").lower() == "refresh" for e in self.all("meta"))


def pages(html):
    """Every page of a built book, without the parts of the theme that are not pages."""
    found = [path for path in sorted(html.rglob("*.html")) if "_static" not in path.relative_to(html).parts]
    return [read(path, path.stat().st_mtime_ns) for path in found]


@functools.cache
def read(path, written):
    """One page, read once for all rules until it is written anew."""
    return Page(path)


def is_remote(url):
    return urlsplit(url.strip()).netloc != ""


def remote_requests(html):
    """What a page, or a style sheet of the book, would fetch from another host when it is opened."""
    faults = []
    for page in pages(html):
        for element in page.elements:
            tag, attrs = element["tag"], element["attrs"]
            asked = [attrs[name] for name in FETCHED_ATTRIBUTES if name in attrs]
            asked += [part.split()[0] for part in attrs.get("srcset", "").split(",") if part.strip()]
            if tag == "link" and FETCHED_BY_LINK & set(attrs.get("rel", "").lower().split()):
                asked.append(attrs.get("href", ""))
            if tag in ("image", "use"):  # of SVG
                asked += [attrs.get("href", ""), attrs.get("xlink:href", "")]
            asked += CSS_FETCH.findall(attrs.get("style", ""))
            asked += CSS_FETCH.findall(element["text"]) if tag == "style" else []
            asked += JS_FETCH.findall(element["text"]) if tag == "script" else []
            faults += [f"{page.path.name}: <{tag}> asks {url}" for url in asked if is_remote(url)]
    for sheet in sorted(html.rglob("*.css")):
        faults += [f"{sheet.name} asks {url}" for url in CSS_FETCH.findall(sheet.read_text(encoding="utf-8"))]
    return faults


def broken_links(html):
    """Links, images and scripts inside the book that lead nowhere, and fragments without an element."""
    parsed = {page.path.resolve(): page for page in pages(html)}
    faults = []
    for page in parsed.values():
        here = page.path.resolve().as_uri()
        for element in page.elements:
            for name in ("href", "src"):
                url = element["attrs"].get(name, "").strip()
                if not url or is_remote(url) or urlsplit(url).scheme:  # another host, mailto:, data:, javascript:
                    continue
                target, _, fragment = urljoin(here, url).partition("#")
                path = Path(unquote(urlsplit(target).path))
                path = path / "index.html" if path.is_dir() else path
                if not path.exists():
                    faults.append(f"{page.path.name}: {url} does not exist")
                elif fragment and path in parsed and unquote(fragment) not in parsed[path].ids:
                    faults.append(f"{page.path.name}: {url} has no such id")
    return faults


def images_without_text(html):
    """Images and drawings that say too little without sight; the theme's logo and icons are exempt."""
    theme = {"logo__image", "btn__icon-container"}
    faults = []
    for page in pages(html):
        for element in page.elements:
            attrs = element["attrs"]
            classes = " ".join(e["attrs"].get("class", "") for e in [element, *element["inside"]]).split()
            if element["tag"] == "img" and not theme & set(classes):
                text = attrs.get("alt", "").strip()
                if len(text) <= MIN_ALT or re.fullmatch(r"\S+\.(png|svg|jpe?g|gif|webp)", text, re.I):
                    faults.append(f"{page.path.name}: <img src={attrs.get('src', '')[:60]}> has alt text {text!r}")
            if element["tag"] == "svg" and attrs.get("role") == "img":
                named = attrs.get("aria-labelledby", "").split()
                texts = [e["text"] for e in page.elements if e["attrs"].get("id") in named]
                text = " ".join([attrs.get("aria-label", ""), *texts]).strip()
                if len(text) <= MIN_ALT:
                    faults.append(f"{page.path.name}: <svg role=img> has the name {text!r}")
    return faults


def pages_without_one_h1(html):
    """Pages with no first heading, or several. Redirects and the theme's hidden copy for printing do not count."""
    faults = []
    for page in pages(html):
        shown = [e for e in page.all("h1") if all(p["attrs"].get("id") != "jb-print-docs-body" for p in e["inside"])]
        if len(shown) != 1 and not page.is_redirect():
            faults.append(f"{page.path.name}: {len(shown)} first headings: {[e['text'].strip() for e in shown]}")
    return faults


RULES = [remote_requests, broken_links, images_without_text, pages_without_one_h1]


def test_the_book_builds_without_a_warning(book):
    done, _ = book
    report = [line for line in (done.stdout + done.stderr).splitlines() if re.search("warning|error", line, re.I)]
    assert done.returncode == 0, "\n".join(report) or done.stderr[-3000:]


def test_every_chapter_and_page_is_there(book):
    _, html = book
    named = re.findall(r"^\s*-?\s*(?:file|root):\s*(\S+)", (ROOT / "_toc.yml").read_text(), re.M)
    assert len(named) >= 5
    assert [name for name in named if not (html / f"{name}.html").exists()] == []


STATE = {True: "here", False: "to come"}


def wrong_states(pages, drawing, chapters):
    """Chapters whose state on a map, in a Markdown table or in the drawing of a part, is not the true one."""
    rows = [(page.name, *row) for page in pages for row in re.findall(ROW, page.read_text(encoding="utf-8"), re.M)]
    rows += [(drawing.name, *row) for row in re.findall(BAND, drawing.read_text(encoding="utf-8"), re.S)]
    return [f"{name}: {number} is {state}" for name, number, state in rows if state != STATE[number in chapters]]


ROW = r"^\| \[?(\d\d) .*\| (here|to come) \|$"
BAND = r'data-chapter="(\d\d)" data-state="([^"]+)"'


def test_a_map_says_truly_what_is_here():
    chapters = {path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb")}
    maps = [ROOT / "book" / "intro.md", *(ROOT / "book").glob("part_*.md")]
    drawing = ROOT / "book" / "_static" / "eeg_path.svg"
    assert wrong_states(maps, drawing, chapters) == []
    none, all_of_them = set(), {f"{number:02d}" for number in range(15)}
    assert "intro.md: 00 is here" in wrong_states(maps, drawing, none)
    assert "eeg_path.svg: 11 is here" in wrong_states(maps, drawing, none)
    assert "intro.md: 14 is to come" in wrong_states(maps, drawing, all_of_them)
    assert len(wrong_states(maps, drawing, none) + wrong_states(maps, drawing, all_of_them)) >= 23  # every row is read


def test_the_drawing_of_the_path_shows_its_states():
    drawing = (ROOT / "book" / "_static" / "eeg_path.svg").read_text(encoding="utf-8")
    bands = re.findall(BAND + r">(.*?)</text>\s*<g", drawing, re.S)
    assert len(bands) == 4
    for number, state, words in bands:
        assert f">{number}</text>" in words
        assert words.endswith(f">{state}")


@pytest.mark.parametrize("rule", RULES)
def test_the_book_keeps_the_rule(book, rule):
    _, html = book
    assert len(pages(html)) >= 5
    assert rule(html) == []


def test_no_page_runs_thebe(book):
    _, html = book
    scripts = [(page.path.name, e) for page in pages(html) for e in page.all("script")]
    assert scripts
    assert [name for name, e in scripts if "thebe" in (e["attrs"].get("src", "") + e["text"]).lower()] == []


def test_the_drawing_of_the_detector_counts_as_the_model_does():
    pytest.importorskip("torch")
    from helpers.models import SeizureDetector, parameters_by_stage

    count = parameters_by_stage(SeizureDetector())
    drawing = (ROOT / "book" / "_static" / "detector.svg").read_text(encoding="utf-8")
    told = [count["encoder"], count["rescnn"], count["mamba"], count["decoder"] + count["head"], count["total"]]
    assert [number for number in told if f"{number:,}" not in drawing] == []
    drawn = [
        f"{name} {number / 1e6:.2f} M" for name, number in zip(("Encoder", "ResCNN", "Bi-Mamba-2"), told, strict=False)
    ]
    assert [label for label in drawn if label not in drawing] == []


GOOD = """<!doctype html><title>t</title><link rel="canonical" href="https://example.org/a.html">
<link rel="stylesheet" href="style.css"><h1 id="top">One</h1><a href="#top">up</a> <a href="https://example.org">out</a>
<div id="jb-print-docs-body"><h1>One</h1></div><img class="logo__image" src="style.css" alt="Home">
<img src="style.css" alt="Power against frequency: a peak at 3 Hz">
<svg role="img" aria-labelledby="n"><title id="n">A U-shaped diagram of the detector</title></svg>"""

BROKEN = {
    remote_requests: [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<script src="//cdn.example.org/x.js"></script>',
        '<script type="module">import x from "https://cdn.example.org/x.mjs"</script>',
        '<link rel="stylesheet" href="https://cdn.example.org/x.css">',
        '<img src="http://example.org/x.png" alt="Power against frequency: a peak at 3 Hz">',
        '<img src="style.css" srcset="style.css 1x, https://example.org/x.png 2x" alt="Power against frequency">',
        "<style>@import 'https://fonts.example.org/x.css';</style>",
        "<p style=\"background: url('https://example.org/x.png')\">x</p>",
        '<iframe src="https://example.org/"></iframe>',
    ],
    broken_links: [
        '<a href="missing.html">x</a>',
        '<a href="#nowhere">x</a>',
        '<a href="page.html#nowhere">x</a>',
        '<script src="missing.js"></script>',
    ],
    images_without_text: [
        '<img src="style.css">',
        '<img src="style.css" alt="">',
        '<img src="style.css" alt="A figure">',
        '<img src="style.css" alt="_images/4f1c9a7be02d55aa91.png">',
        '<svg role="img"><title>Figure</title></svg>',
    ],
    pages_without_one_h1: ["<h1>Two</h1>"],
}


@pytest.mark.parametrize("rule", RULES)
def test_a_sound_page_has_no_fault(tmp_path, rule):
    (tmp_path / "page.html").write_text(GOOD)
    (tmp_path / "style.css").write_text("p { color: red; background: url(data:image/png;base64,AAAA) }")
    assert rule(tmp_path) == []


@pytest.mark.parametrize(("rule", "snippet"), [(rule, snippet) for rule in RULES for snippet in BROKEN[rule]])
def test_a_rule_goes_red_on_a_broken_page(tmp_path, rule, snippet):
    (tmp_path / "page.html").write_text(GOOD + snippet)
    (tmp_path / "style.css").write_text("")
    assert len(rule(tmp_path)) == 1


def test_a_page_without_a_heading_is_a_fault(tmp_path):
    (tmp_path / "page.html").write_text("<p>text</p>")
    assert len(pages_without_one_h1(tmp_path)) == 1


def test_a_style_sheet_that_asks_a_remote_host_is_a_fault(tmp_path):
    (tmp_path / "style.css").write_text("@font-face { src: url(https://fonts.example.org/x.woff2) }")
    assert len(remote_requests(tmp_path)) == 1
