"""The catalogue: every entry is whole, and its patterns find their examples and cannot crawl."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
import time

import pytest
from packaging.requirements import Requirement

from helpers.environment.catalogue import contract, failures, needles, origins
from helpers.environment.diagnosis import explain
from helpers.environment.logs import clean

IDS = [
    f"{group}{number}"
    for group, last in {"U": 3, "L": 9, "B": 21, "I": 14, "R": 8, "P": 4}.items()
    for number in range(1, last + 1)
]
IDS.insert(IDS.index("B5"), "B4b")
ALL = pytest.mark.parametrize("failure", failures(), ids=lambda failure: failure.id)
COMMAND = re.compile(
    r"!?(?:[A-Z_0-9]+=\S* )*(?:pip|python[\d.]*|sudo|export|unset|conda|git|workbook|curl|wsl|nvcc|ls|file"
    r"|free|df|env|grep|uname|which|ldd|ldconfig|nvidia-smi|ps)(?: |$)"
)
VARIABLES = {  # read by a setup.py of the two packages, by torch, Triton, compilers, the loader, the shell or Python
    *("MAMBA_FORCE_BUILD", "CAUSAL_CONV1D_FORCE_BUILD", "MAX_JOBS", "CUDA_HOME", "CC", "CXX", "NVCC_PREPEND_FLAGS"),
    *("NVCC_APPEND_FLAGS", "TRITON_LIBCUDA_PATH", "LD_LIBRARY_PATH", "PATH", "CPATH", "TMPDIR", "HTTPS_PROXY"),
}
UNBOUNDED = re.compile(r"(?<!\\)\.[*+]|\[\^\\n\][*+]|[*+]\)[*+{]|,\}")


def test_ids_are_the_list():
    assert [failure.id for failure in failures()] == IDS


@ALL
def test_entry_is_whole(failure):
    assert all([failure.title, failure.check, failure.fix, *failure.fix])
    assert re.fullmatch(r"[a-z0-9-]*", failure.lab)
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
        literals = needles(signature.match.pattern)
        assert literals, signature.match.pattern
        assert all(any(literal in clean(example) for literal in literals) for example in found)
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


def commands(failure):
    """Every command of an entry as its words; pipes, lists and comments are taken apart."""
    for step in (failure.check, *failure.fix, *(step for steps in failure.fix_at.values() for step in steps)):
        if COMMAND.match(step):
            words = []
            for word in taken_apart(step):
                if set(word) <= set(";&|"):
                    yield words
                    words = []
                else:
                    words.append(word)
            yield words


def taken_apart(step):
    lexer = shlex.shlex(step.removeprefix("!").replace(" 2>&1", ""), posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    return list(lexer)  # a comment is left out


def split_off_variables(words):
    """The words of a command, and the names of the variables that it sets."""
    if words[0] in ("export", "unset"):
        return [], [word.split("=")[0] for word in words[1:] if re.match(r"[A-Z_0-9]+(=|$)", word)]
    names = list(itertools.takewhile(lambda word: re.match(r"[A-Z_0-9]+=", word), words))
    return words[len(names) :], [name.split("=")[0] for name in names]


@pytest.fixture(scope="module")
def pip_options():
    """The options of each pip command, by the pip that runs here."""
    return {
        name: set(
            re.findall(
                r"(?<![\w-])--?[a-zA-Z][\w-]*",
                subprocess.check_output([sys.executable, "-m", "pip", name, "--help"], text=True),
            )
        )
        for name in ("install", "uninstall", "cache", "index", "list", "check")
    }


@ALL
def test_commands_can_be_typed(failure, pip_options):
    for command in commands(failure):
        words, variables = split_off_variables(command)
        skip = {"MAMBA_SKIP_CUDA_BUILD", "CAUSAL_CONV1D_SKIP_CUDA_BUILD"} if command[0] == "unset" else set()
        assert set(variables) <= VARIABLES | skip, command
        if words[:3] == ["python", "-m", "pip"]:
            words = words[2:]
        if words[:2] == ["python", "-c"]:
            compile(words[2], "check", "exec")
        elif words[:1] == ["workbook"]:
            assert words[1:] in (["doctor"], ["plan", "--commands"])
        elif words[:1] == ["pip"] and words[1] != "--version":
            assert {word for word in words[2:] if word.startswith("-")} <= pip_options[words[1]], command
            if words[1] == "install":
                requirements(words[2:])


def requirements(words):
    """What `pip install` is asked for; raises for what it could not read."""
    found, rest = [], iter(words)
    for word in rest:
        if word in ("--index-url", "-e"):
            next(rest)
        elif word.startswith("git+https://github.com/"):
            url, version = word.rsplit("@v", 1)
            found.append(Requirement(f"{url.rsplit('/')[-1].replace('mamba', 'mamba-ssm')}=={version}"))
        elif not word.startswith(("-", ".")):
            found.append(Requirement(word))
    return found


@ALL
def test_pinned_pairs_fit_together(failure):
    fits = {"2.3.1": "1.6.1", "2.2.4": "1.5.0.post8"}  # mamba-ssm and the causal-conv1d of its C++ contract
    for command in commands(failure):
        words, _ = split_off_variables(command)
        if words[:2] == ["pip", "install"]:
            pins = {item.name: str(item.specifier) for item in requirements(words[2:])}
            mamba, conv = pins.get("mamba-ssm", "")[2:], pins.get("causal-conv1d", "")[2:]
            assert mamba == "" or fits[mamba] == conv, command
            if mamba == "2.2.4":
                assert pins["transformers"] == "<5", command  # or the next failure is I4


def test_a_command_that_cannot_be_typed_is_red(pip_options):
    assert "--no-build-isolation" in pip_options["install"]
    assert "--no-cache" not in pip_options["install"]
    assert split_off_variables(taken_apart("NVCC_THREADS=1 pip install x"))[1] == ["NVCC_THREADS"]
    assert "NVCC_THREADS" not in VARIABLES
    with pytest.raises(ValueError, match="Expected"):
        requirements(["mamba-ssm=2.2.4"])


def test_needles():
    assert needles(r"a(?:bcd|efg)h?i{0,2}") == ("bcd", "efg")
    assert needles(r"(?<!xyz)abc|def[ghi]") == ("abc", "def")
    assert needles(r"\d+|abc") == ()


def test_an_unbounded_pattern_is_red():
    assert all(UNBOUNDED.search(pattern) for pattern in (r"a.*b", r"(a+)+b", r"[^\n]*x", r"a{3,}"))


def test_symbols_and_contract():
    assert len(origins()) >= 9
    assert contract("causal_conv1d_fwd", 8) == ("1.5.1 or newer", "2.2.5 or newer")
    assert contract("causal_conv1d_fwd", 3) is None
