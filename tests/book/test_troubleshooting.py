"""The troubleshooting tree has every failure of the catalogue once, with its title, and links its lab."""

import re
from collections import Counter
from pathlib import Path

import pytest

from helpers.environment.catalogue import failures

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book" / "troubleshooting.md").read_text(encoding="utf-8")
LEAF = re.compile(r"\*\*([A-Z]\d+b?): (.+?)\.\*\*", re.S)
LAB = re.compile(r"\]\(\.\./notebooks/(\w+)\.ipynb#lab-([\w-]+)\)")
WAITS = re.compile(r"[Cc]hapters? (\d\d)(?:(?:,| and) (\d\d))* (?:is|are) to come")


def faults(page):
    """Leaves that differ from the catalogue, and chapters that are said to come and are here."""
    known = {failure.id: failure for failure in failures()}
    count, found = Counter(name for name, _ in LEAF.findall(page)), []
    found += [f"{name} is {count[name]} times in the tree" for name in known if count[name] != 1]
    for leaf in re.split(r"\n(?=- |:::|#)", page):
        for name, title in LEAF.findall(leaf):
            if name not in known:
                found.append(f"{name} is not in the catalogue")
                continue
            if " ".join(title.replace("`", "").split()) != known[name].title:
                found.append(f"{name}: {title!r}, the catalogue says {known[name].title!r}")
            wanted = [(known[name].chapter, known[name].lab)] if known[name].lab else []
            if LAB.findall(leaf) != wanted:
                found.append(f"{name}: links {LAB.findall(leaf)}, expected {wanted}")
    here = {path.name[:2] for path in (ROOT / "notebooks").glob("*.py")}
    waiting = {number for match in WAITS.finditer(page) for number in re.findall(r"\d\d", match[0])}
    return found + [f"chapter {number} is here" for number in sorted(waiting & here)]


def test_the_tree_is_that_of_the_catalogue():
    assert faults(PAGE) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("**U3: ", "**U33: ", "U33 is not in the catalogue"),
        ("**U3: ", "**U2: ", "U3 is 0 times"),
        ("**B4b: ", "**B4: ", "B4 is 2 times"),
        ("**B1: pip builds", "**B1: pip compiles", "B1: 'pip compiles"),
        ("02_loader.ipynb#lab-glibc", "02_loader.ipynb#lab-shadow", "L4: links [('02_loader', 'shadow')]"),
        ("[Lab glibc](../notebooks/02_loader.ipynb#lab-glibc)", "", "L4: links []"),
        ("Chapter 14 is to come", "Chapter 01 is to come", "chapter 01 is here"),
        ("Chapter 14 is to come", "Chapters 14 and 09 are to come", "chapter 09 is here"),
    ],
)
def test_a_tree_that_differs_is_a_fault(old, new, fault):
    assert old in PAGE
    assert any(fault in found for found in faults(PAGE.replace(old, new)))


def test_the_roots_of_the_notes_are_kept():
    assert "No partial seizure windows found" in PAGE
    assert "Slow training" in PAGE


def test_the_three_commands_come_first():
    first = PAGE[: PAGE.index("## The trunk")]
    assert [f"workbook {name}" in first for name in ("doctor", "explain", "plan")] == [True] * 3
