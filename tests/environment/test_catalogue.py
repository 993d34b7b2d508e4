"""The catalogue: every entry is whole, and its patterns find their examples and cannot crawl."""

from __future__ import annotations

import re
import time

import pytest

from helpers.environment.catalogue import contract, failures, origins
from helpers.environment.diagnosis import explain
from helpers.environment.logs import clean

IDS = [
    f"{group}{number}"
    for group, last in {"U": 3, "L": 6, "B": 18, "I": 10, "R": 7, "P": 3}.items()
    for number in range(1, last + 1)
]
IDS.insert(IDS.index("B5"), "B4b")
ALL = pytest.mark.parametrize("failure", failures(), ids=lambda failure: failure.id)
UNBOUNDED = re.compile(r"(?<!\\)\.[*+]|\[\^\\n\][*+]|[*+]\)[*+{]|,\}")


def test_ids_are_the_list():
    assert [failure.id for failure in failures()] == IDS


@ALL
def test_entry_is_whole(failure):
    assert all([failure.title, failure.check, failure.lab, failure.fix, *failure.fix])
    assert failure.cause.endswith((".", ")"))
    assert failure.chapter in {"01_install", "02_loader"}
    assert set(failure.fix_at) <= {"local", "colab", "wsl2", "modal", "jetson"}
    assert all(name in IDS or name in "ULBIRP" for name in failure.yields_to)
    assert all(re.fullmatch(r"[\w-]+/[\w.-]+#\d+", thread) for thread in failure.cites)


@ALL
def test_signatures_match_examples(failure):
    for signature in failure.signatures:
        found = [example for example in failure.examples if signature.match.search(clean(example))]
        assert found, signature.match.pattern
        assert all(signature.needle in clean(example) for example in found)
    for example in failure.examples:
        assert explain(example).causes[0].id == failure.id


@ALL
def test_patterns_stay_linear(failure):
    for signature in failure.signatures:
        for pattern in (signature.match, signature.near, signature.log, signature.unless):
            assert pattern is None or not UNBOUNDED.search(pattern.pattern), pattern.pattern
    for piece in (*failure.examples, failure.examples[0][:-3]):
        text = clean(piece * (100_000 // len(piece)))
        start = time.perf_counter()
        explain(text)
        assert time.perf_counter() - start < 1


def test_an_unbounded_pattern_is_red():
    assert all(UNBOUNDED.search(pattern) for pattern in (r"a.*b", r"(a+)+b", r"[^\n]*x", r"a{3,}"))


def test_symbols_and_contract():
    assert len(origins()) >= 9
    assert contract("causal_conv1d_fwd", 8) == ("1.5.1 or newer", "2.2.5 or newer")
    assert contract("causal_conv1d_fwd", 3) is None
