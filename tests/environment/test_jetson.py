"""The Jetson patch: the check is right for real pairs of releases, the patch works on their real sources and on no
others, and whatever stops it, the sources are whole.

The sources are those of PyPI. What is compiled is not: a stand-in in plain torch takes the arguments of one release or
of the other, and nothing else.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.environment import ArtifactError, Lab, main, unpacked
from helpers.environment.catalogue.releases import contract_kept
from helpers.environment.jetson import (
    PatchError,
    UnknownSource,
    apply,
    check,
    exchange,
    original,
    patched,
    read_contract,
    revert,
)
from helpers.environment.jetson.edits import FILES, state
from helpers.environment.probe import Host

VERSIONS = ("2.2.2", "2.2.4")
jetson_folder = Path(exchange.__file__).parent
SCAN, COMBINED = FILES


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Folder of a package's sources, as on PyPI."""
    folder = tmp_path_factory.mktemp("releases")

    def get(name, version):
        root = folder / f"{name}-{version}"
        if not root.is_dir():
            try:
                unpacked(name, version, folder)
            except ArtifactError as fault:
                pytest.skip(str(fault))
        return root / name

    return get


@pytest.fixture
def site(tmp_path, release):
    """A site-packages with copies of two releases."""

    def make(mamba, conv):
        folder = tmp_path / "site"
        for name, version in (("mamba_ssm", mamba), ("causal_conv1d", conv)):
            if version:
                shutil.copytree(release(name, version), folder / name)
        folder.mkdir(exist_ok=True)
        return folder

    return make


def sources(folder):
    return {name: (Path(folder) / name).read_bytes() for name in FILES}


# --- the check ---

PAIRS = [
    ("2.2.2", "1.4.0", "fits", (7, 10), (7, 10)),
    ("2.2.2", "1.5.0.post8", "fits", (7, 10), (7, 10)),
    ("2.2.2", "1.5.2", "too few", (7, 10), (8, 12)),
    ("2.2.2", "1.7.0", "too few", (7, 10), (8, 12)),
    ("2.2.4", "1.5.0.post8", "fits", (7, 10), (7, 10)),
    ("2.2.4", "1.6.0", "too few", (7, 10), (8, 12)),
    ("2.2.4", "1.6.2.post1", "too few", (7, 10), (8, 12)),
    ("2.2.5", "1.4.0", "too old", None, (7, 10)),
    ("2.2.5", "1.5.2", "fits", None, (8, 12)),
    ("2.3.1", "1.5.0.post8", "too old", None, (7, 10)),
    ("2.3.1", "1.6.1", "fits", None, (8, 12)),
    ("2.3.2.post1", "1.7.0", "fits", None, (8, 12)),
]


@pytest.mark.parametrize(("mamba", "conv", "verdict", "passed", "taken"), PAIRS)
def test_the_check_reads_both_sides_of_a_pair(release, mamba, conv, verdict, passed, taken):
    found = read_contract(release("mamba_ssm", mamba), release("causal_conv1d", conv))
    assert (found.verdict, found.passed, found.taken) == (verdict, passed, taken)
    assert (found.verdict == "fits") is contract_kept(mamba, conv)  # the catalogue, which was not asked


@pytest.mark.parametrize(
    ("mamba", "conv", "verdict", "advice"),
    [
        ("2.2.4", "1.6.0", "too few", ["--mamba 2.2.4 --commands", "--causal-conv1d 1.6.0 --commands", "--apply"]),
        ("2.2.4", "1.4.0", "fits", []),
        ("2.2.5", "1.4.0", "too old", ["--mamba 2.2.5 --commands"]),
        ("2.2.4", None, "no causal-conv1d", ["--mamba 2.2.4 --commands"]),
        (None, "1.6.0", "no mamba-ssm", ["workbook plan --commands"]),
    ],
)
def test_the_right_cure_comes_before_the_patch(site, mamba, conv, verdict, advice):
    folder = site(mamba, conv)
    advice = [end.replace("--apply", f"--apply --site {folder}") for end in advice]  # it stays with what was looked at
    for name in ("causal_conv1d_cuda", "selective_scan_cuda"):
        (folder / f"{name}.py").touch()
    found = check(folder, imports=False)
    assert found.contract.verdict == verdict
    commands = [line.strip() for line in found.advice if "workbook" in line and line.startswith("  ")]
    assert [command.endswith(end) for command, end in zip(commands, advice, strict=True)] == [True] * len(advice)
    assert found.broken is (verdict not in ("fits", "no mamba-ssm"))


def test_a_version_that_the_patch_was_not_tried_on_is_not_advised_to_take_it(site):
    folder = site("2.2.4", "1.6.0")
    init = folder / "mamba_ssm/__init__.py"
    init.write_text(init.read_text().replace('"2.2.4"', '"2.2.3"'))
    for name in ("causal_conv1d_cuda", "selective_scan_cuda"):
        (folder / f"{name}.py").touch()
    found = check(folder, imports=False)
    assert (found.contract.verdict, found.patch_helps) == ("too few", False)
    assert "--apply" not in str(found)
    with pytest.raises(PatchError, match=r"found version 2\.2\.3, expected 2\.2\.2 or 2\.2\.4"):
        apply(folder / "mamba_ssm")


# --- the compiled file ---

MODULE = """
#include <optional>
namespace at { class Tensor; }
using T = const at::Tensor&;
using O = const std::optional<at::Tensor>&;
namespace c10 { void SetNumThreads(); }
#if TAKES == 7
void causal_conv1d_fwd(T, T, O, O, O, O, bool) {}
void causal_conv1d_bwd(T, T, O, T, O, O, O, O, bool, bool) {}
#else
void causal_conv1d_fwd(T, T, O, O, O, T, O, bool) {}
void causal_conv1d_bwd(T, T, O, T, O, O, O, T, T, T, T, bool) {}
#endif
extern "C" void* PyInit_NAME() { return nullptr; }
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A compiled causal_conv1d_cuda that takes 7 or 8 arguments; nothing imports it."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    pytest.importorskip("torch", reason="no torch, whose libc10.so it is linked with")

    def build(takes, name="causal_conv1d_cuda"):
        with Lab() as lab:
            lab.write("module.cpp", f"#define TAKES {takes}\n{MODULE.replace('NAME', name)}")
            path = lab.build("module.cpp", links=["c10"], flags=["-Wl,--no-as-needed"])
            return path.read_bytes()

    return build


@pytest.mark.parametrize(("takes", "counts"), [(7, (7, 10)), (8, (8, 12))])
def test_the_compiled_file_says_what_it_takes(tmp_path, release, compiled, takes, counts):
    path = tmp_path / "causal_conv1d_cuda.so"
    path.write_bytes(compiled(takes))
    found = read_contract(release("mamba_ssm", "2.2.4"), release("causal_conv1d", "1.6.0"), path)
    assert found.compiled == counts
    assert found.verdict == ("too few" if takes == 8 else "two halves")


def test_machine_and_import_order_are_read_from_the_files(site, compiled):
    folder = site("2.2.4", "1.6.0")
    for name in ("causal_conv1d_cuda", "selective_scan_cuda"):
        (folder / f"{name}.so").write_bytes(compiled(8, name))
    layers = {layer.name: layer for layer in check(folder, imports=False).layers}
    assert layers["machine"].state == "ok"
    assert "libc10.so: cannot open shared object file" in layers["import order"].summary
    assert layers["import order"].summary.startswith("loads after `import torch`; before it: ")
    assert layers["import order"].summary.endswith("libc10.so lies in torch/lib")


@pytest.mark.parametrize(
    ("files", "architecture", "said"),
    [
        (["causal_conv1d_cuda.so", "selective_scan_cuda.so"], "riscv64", "this machine is riscv64"),
        (["causal_conv1d_cuda.so"], None, "no selective_scan_cuda is there"),
        (["causal_conv1d_cuda.so", "selective_scan_cuda.cpython-36m-x86_64-linux-gnu.so"], None, "does not see that"),
    ],
)
def test_a_file_for_another_machine_is_no_case_for_the_patch(site, compiled, files, architecture, said):
    folder = site("2.2.4", "1.6.0")
    for name in files:
        (folder / name).write_bytes(compiled(8, name.split(".")[0]))
    found = check(folder, imports=False, host=Host(architecture=architecture) if architecture else None)
    layer = next(layer for layer in found.layers if layer.name == "machine")
    assert layer.state == "broken"
    assert said in layer.summary
    assert "--apply" not in "".join(found.advice)
    assert "workbook plan --commands" in found.advice[1]


# --- torch.distributed ---


@pytest.mark.parametrize(
    ("distributed", "state", "said"),
    [
        ("def is_available(): return True\nProcessGroup = _all_gather_base = reduce_scatter_tensor = 1", "ok", "has "),
        ("def is_available(): return False", "broken", "no ProcessGroup, no _all_gather_base, no _reduce_scatter_base"),
        (
            "def is_available(): return False\nProcessGroup = 1",
            "broken",
            ": no _all_gather_base",
        ),  # torch 2.13 has this
        (
            "def is_available(): return False\nProcessGroup = all_gather_into_tensor = reduce_scatter_tensor = 1",
            "ok",
            "stand-ins",
        ),
        ("import nowhere", "broken", "No module named 'nowhere'"),
    ],
)
def test_a_torch_without_distributed_is_seen(site, distributed, state, said):
    folder = site("2.2.4", "1.4.0")
    (folder / "torch/distributed").mkdir(parents=True)
    (folder / "torch/__init__.py").write_text("__version__ = '2.5.0a0'")
    (folder / "torch/version.py").write_text("__version__ = '2.5.0a0'")
    (folder / "torch/distributed/__init__.py").write_text(distributed)
    found = check(folder)
    layer = next(layer for layer in found.layers if layer.name == "distributed")
    assert (layer.state, said in layer.summary) == (state, True), layer
    assert any("sitecustomize" in line for line in found.advice) is ("_all_gather_base" in said)


# --- the patch, as a function of bytes ---


@pytest.mark.parametrize(("version", "name"), list(itertools.product(VERSIONS, FILES)))
def test_there_and_back_is_byte_for_byte(release, version, name):
    before = (release("mamba_ssm", version) / name).read_bytes()
    after = patched(before, name)
    assert after != before
    assert (state(before, name), state(after, name)) == ("original", "patched")
    assert original(after, name) == before
    assert patched(after, name) == after
    assert original(before, name) == before
    assert after.count(b"causal_conv1d_cuda.causal_conv1d_fwd(") == 0
    assert after.count(b"= _workbook_causal_conv1d_bwd(") == 1
    compile(after, name, "exec")


@pytest.mark.parametrize("name", FILES)
def test_lines_may_have_moved(release, name):
    before = (release("mamba_ssm", "2.2.4") / name).read_bytes()
    for moved in (b"# one\n# two, \xc2\xb5\n" + before, before.replace(b"\n", b"\r\n"), before + b"\n\n# behind\n"):
        after = patched(moved, name)
        assert original(after, name) == moved
        assert after.count(b"\r\n") in (0, after.count(b"\n"))


NOTE = (  # the first forward call, as field note D would have it
    "        conv1d_out = causal_conv1d_cuda.causal_conv1d_fwd(\n"
    "            x, conv1d_weight, conv1d_bias, None, None, None, True\n        )\n        # We're",
    "        if causal_conv1d_fn is not None:\n"
    '            conv1d_out = causal_conv1d_fn(x, conv1d_weight, conv1d_bias, activation="silu")\n'
    "        else:\n            conv1d_out = causal_conv1d_cuda.causal_conv1d_fwd(\n"
    "                x, conv1d_weight, conv1d_bias, None, None, None, True\n            )\n        # We're",
)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("class MambaInnerFn", "class OtherFn", "calls no C"),
        (
            "x, conv1d_weight, conv1d_bias, None, None, None, True",
            "x, conv1d_weight, conv1d_bias, None, True",
            "5 argu",
        ),
        (
            "dconv1d_out, None, None, None, dx, False, True",
            "dconv1d_out, None, None, None, dx, None, False, True",
            "11 ar",
        ),
        (
            "None, None, None, True\n        )\n        #",
            "None, None, None, silu=True\n        )\n        #",
            "passes 6",
        ),
        ("    import causal_conv1d_cuda\n", "", "its import"),
        (
            "import selective_scan_cuda\n",
            "import selective_scan_cuda\nnow = causal_conv1d_cuda\n",
            "uses causal_conv1d_cuda",
        ),
        ("import selective_scan_cuda\n", "_workbook_causal_conv1d_fwd = 1\n", "uses _workbook_causal_conv1d_fwd"),
        (
            "causal_conv1d_cuda.causal_conv1d_bwd(",
            "causal_conv1d_cuda.causal_conv1d_update(",
            "_fwd, causal_conv1d_update,",
        ),
        ("causal_conv1d_cuda.causal_conv1d_bwd(", "causal_conv1d_cuda .causal_conv1d_bwd(", "not expected"),
        ("def forward(ctx, xz", "def forward(ctx xz", "no Python source"),
        (*NOTE, "patched by hand, as field note D"),
    ],
)
def test_a_source_that_is_not_known_is_refused(site, old, new, said):
    folder = site("2.2.4", "1.6.0") / "mamba_ssm"
    text = (folder / SCAN).read_text()
    assert old in text
    (folder / SCAN).write_text(text.replace(old, new, 1))
    before = sources(folder)
    assert state(before[SCAN], SCAN) == ("by hand" if "by hand" in said else "unknown")
    with pytest.raises(PatchError, match=said):
        apply(folder)
    assert revert(folder) == []  # there is no patch to take back
    assert sources(folder) == before
    if "by hand" in said:
        assert read_contract(folder, folder.parent / "causal_conv1d").verdict == "by hand"


@pytest.mark.parametrize("version", ["2.2.5", "2.3.1"])
def test_a_release_that_needs_no_patch_is_refused(release, version):
    for name in FILES:
        with pytest.raises(UnknownSource, match="expected the file of mamba-ssm"):
            patched((release("mamba_ssm", version) / name).read_bytes(), name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"bwd_function(*given)", b"bwd_function(*given, 1)"),
        (b"L = xz.shape[-1]\n", b"L = xz.shape[-1]\n        y = causal_conv1d_cuda.causal_conv1d_fwd(1)\n"),
        (b"# --- workbook patch jetson: end\n", b""),
    ],
)
def test_a_patched_source_that_was_changed_since_is_refused(site, old, new):
    folder = site("2.2.4", "1.6.0") / "mamba_ssm"
    apply(folder)
    text = (folder / SCAN).read_bytes()
    assert old in text
    (folder / SCAN).write_bytes(text.replace(old, new, 1))
    before = sources(folder)
    for turn in (apply, revert):
        with pytest.raises(PatchError, match="changed after it was patched"):
            turn(folder)
    assert sources(folder) == before


# --- what is not green: sources that are neither the release's nor the patch's ---


def edited(folder, name, *pairs):
    text = (folder / name).read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)


def by_hand(folder, *names):
    """Field note D's patch without its second way, which leaves no call of causal_conv1d_fwd."""
    given = r"causal_conv1d_cuda\.causal_conv1d_fwd\((.*?), (?:None|seq_idx), None, None, "
    given += r"(?:True|(?:ctx\.)?activation in \[\"silu\", \"swish\"\])\s*\)"
    for name in names:
        text, count = re.subn(
            given, r"causal_conv1d_fn(\1, activation='silu')", (folder / name).read_text(), flags=re.S
        )
        assert count == 2
        (folder / name).write_text(text)


def stand_ins(folder):
    for name in ("causal_conv1d_cuda", "selective_scan_cuda"):
        (folder / f"{name}.py").touch()


ELEVEN = ("None, None, None, dx, False, True", "None, None, None, dx, None, False, True")
DAMAGE = {
    "a call of 11 arguments": (
        lambda folder: edited(folder, SCAN, ELEVEN),
        "ops/selective_scan_interface.py: line 358 passes 11 arguments",
        [SCAN],
    ),
    "a damaged patch block": (
        lambda folder: (apply(folder), edited(folder, SCAN, ("bwd_function(*given)", "bwd_function(*given, 1)"))),
        "selective_scan_interface.py was changed after it was patched",
        [SCAN],
    ),
    "no second file": (lambda folder: (folder / COMBINED).unlink(), "ssd_combined.py is missing", [COMBINED]),
    "a second file that is no Python": (
        lambda folder: edited(folder, COMBINED, ("def forward(ctx, zx", "def forward(ctx zx")),
        "ssd_combined.py: it is no Python source",
        [COMBINED],
    ),
}


@pytest.mark.parametrize("conv", ["1.5.0.post8", "1.6.0"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_source_is_broken_whatever_stands_beside_it(site, tmp_path, damage, conv):
    folder = site("2.2.4", conv)
    stand_ins(folder)
    whole = sources(folder / "mamba_ssm")
    damaging, said, wrong = DAMAGE[damage]
    damaging(folder / "mamba_ssm")
    found = check(folder, imports=False)
    assert (found.layers[0].state, said in found.layers[0].summary) == ("broken", True), found.layers[0]
    assert "--apply" not in str(found)
    for action in ("--check", "--apply"):
        assert main(["patch", "jetson", action, "--site", str(folder)]) == 1
    for line in found.advice:  # as a reader would type them
        if line.startswith(("  python ", "  cp ")):
            line = line.replace("python ", f"{sys.executable} ", 1).replace("/tmp/mamba", f"{tmp_path}/mamba")
            subprocess.run(["bash", "-c", line.replace("'/tmp'", f"'{tmp_path}'")], check=True)
    restored = {name for name in FILES if any(line.endswith(name) for line in found.advice)}
    assert restored == set(wrong)
    assert {name: sources(folder / "mamba_ssm")[name] for name in wrong} == {name: whole[name] for name in wrong}


@pytest.mark.parametrize(("conv", "verdict"), [("1.5.0.post8", "fits"), ("1.6.0", "too few")])
def test_an_edit_that_leaves_the_calls_matters_where_the_patch_would_be_needed(site, conv, verdict):
    folder = site("2.2.4", conv)
    stand_ins(folder)
    edited(folder / "mamba_ssm", COMBINED, ("import torch\n", "import torch\nseen = lambda: causal_conv1d_cuda\n"))
    found = check(folder, imports=False)
    assert (found.contract.verdict, found.broken) == (verdict, verdict == "too few")
    assert ("ssd_combined.py: line " in found.layers[0].summary) is found.broken
    assert any(line.startswith("  cp ") for line in found.advice) is found.broken
    assert "--apply" not in str(found)  # which would refuse


@pytest.mark.parametrize("names", [FILES, [SCAN], [COMBINED]])
def test_the_notes_patch_is_recognized_in_both_files_and_in_one(site, names):
    folder = site("2.2.4", "1.6.0")
    stand_ins(folder)
    by_hand(folder / "mamba_ssm", *names)
    found = check(folder, imports=False)
    assert (found.contract.verdict, found.broken) == ("by hand", True)
    said = found.layers[0].summary
    assert "the backward passes 10 arguments and causal-conv1d 1.6.0 takes 12" in said
    works = {SCAN: "the forward of Mamba works, that of Mamba2 fails", COMBINED: "the forward of Mamba2 works, that of"}
    assert (works[names[0]] if len(names) == 1 else "the forward of Mamba and Mamba2 works; training fails") in said
    copied = [line.split()[-1] for line in found.advice if line.startswith("  cp ")]
    assert copied == [str(folder / "mamba_ssm" / name) for name in names]
    assert not any("--apply" in line or "--force-reinstall" in line for line in found.advice)


def test_the_notes_patch_beside_a_pair_that_fits_is_no_fault(site):
    folder = site("2.2.4", "1.5.0.post8")
    stand_ins(folder)
    by_hand(folder / "mamba_ssm", *FILES)
    assert read_contract(folder / "mamba_ssm", folder / "causal_conv1d").verdict == "fits"


def test_no_advice_installs_the_package_again():
    """On ARM that fetches a file for x86-64, and what was compiled there is lost."""
    for path in Path(jetson_folder).glob("*.py"):
        assert "force-reinstall" not in path.read_text(), path


@pytest.mark.parametrize("action", ["--check", "--apply", "--revert"])
def test_a_source_that_cannot_be_read_is_said_in_a_line(site, monkeypatch, capsys, action):
    folder = site("2.2.4", "1.6.0")
    stand_ins(folder)
    read = Path.read_bytes

    def refusing(path):
        if path.name == "ssd_combined.py":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    assert main(["patch", "jetson", action, "--site", str(folder)]) == 1
    shown = capsys.readouterr()
    said = " ".join((shown.out + shown.err).split())
    assert re.search(r"ssd_combined.py:? cannot be read \(Permission denied\)", said), said


@pytest.mark.parametrize("version", ["2.2.5", "2.2.4"])
def test_without_the_patch_there_is_nothing_to_revert(site, capsys, version):
    """As after an upgrade, which puts files without the patch in place of those with it."""
    folder = site(version, "1.6.0")
    before = sources(folder / "mamba_ssm")
    assert main(["patch", "jetson", "--revert", "--site", str(folder)]) == 0
    assert capsys.readouterr().out == "nothing was changed: there is no patch\n"
    assert sources(folder / "mamba_ssm") == before


# --- both files or neither ---


@pytest.mark.parametrize("version", VERSIONS)
def test_any_order_of_apply_and_revert(site, version):
    folder = site(version, "1.6.0") / "mamba_ssm"
    before, draw, is_patched = sources(folder), random.Random(4), False
    after = {name: patched(text, name) for name, text in before.items()}
    (folder / SCAN).chmod(0o640)
    for _ in range(20):
        wanted = draw.random() < 0.5
        changed = (apply if wanted else revert)(folder)
        assert changed == ([folder / name for name in FILES] if wanted is not is_patched else [])
        is_patched = wanted
        assert sources(folder) == (after if wanted else before)
        assert stat.S_IMODE((folder / SCAN).stat().st_mode) == 0o640
    assert sorted(path.name for path in folder.rglob("*.part")) == []


@pytest.fixture(params=["at once", "one by one"])
def renaming(request, monkeypatch):
    """On this file system, and as on one that cannot exchange two folders."""
    if request.param == "one by one":
        monkeypatch.setattr(exchange, "_exchange", refuse)
    return request.param


def refuse(one, other):
    raise exchange.NoExchange(errno.EXDEV, "Invalid cross-device link", str(one))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("turn", [apply, revert])
def test_an_error_in_the_middle_leaves_both_untouched(site, monkeypatch, renaming, turn, at, error):
    folder = site("2.2.4", "1.6.0") / "mamba_ssm"
    if turn is revert:
        apply(folder)
    first = 2 * (renaming == "one by one")  # by then both were renamed in the copy, in vain
    before, count, replace = sources(folder), itertools.count(1), Path.replace

    def failing(self, target):
        if next(count) == first + at:
            raise error
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(PatchError if isinstance(error, OSError) else KeyboardInterrupt):
        turn(folder)
    monkeypatch.undo()
    assert sources(folder) == before
    assert list(folder.rglob("*.part")) == list(folder.glob(".ops*")) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from helpers.environment.jetson import {turn}, exchange
def killed_at(owner, name, at, after=False):
    count, function = 0, getattr(owner, name)
    def call(*arguments):
        nonlocal count
        count += 1
        if after:
            function(*arguments)
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return None if after else function(*arguments)
    setattr(owner, name, call)
{kill}
{turn}(sys.argv[1])
"""
MOMENTS = {  # what was patched by then: none of the two, or both
    "before the first file is written": ('killed_at(Path, "replace", 1)', 0),
    "between the two files": ('killed_at(Path, "replace", 2)', 0),
    "before the exchange": ('killed_at(exchange, "_exchange", 1)', 0),
    "after the exchange": ('killed_at(exchange, "_exchange", 1, after=True)', 2),
}


REFUSED = """
def refuse(one, other):
    raise exchange.NoExchange(18, "Invalid cross-device link", str(one))
exchange._exchange = refuse
"""


@pytest.fixture
def killed(site):
    """Kill an `apply` or a `revert`: the folder, its sources without the patch and with it."""

    def run(turn, kill):
        folder = site("2.2.4", "1.6.0") / "mamba_ssm"
        before = sources(folder)
        if turn == "revert":
            apply(folder)
        done = subprocess.run([sys.executable, "-c", KILLED.format(turn=turn, kill=kill), str(folder)])
        assert done.returncode == -signal.SIGKILL
        return folder, before, {name: patched(text, name) for name, text in before.items()}

    return run


@pytest.mark.parametrize("turn", ["apply", "revert"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("then", [apply, revert])
def test_a_killed_process_changed_both_files_or_none(killed, turn, moment, then):
    kill, turned = MOMENTS[moment]
    folder, before, after = killed(turn, kill)
    assert sources(folder) == (after if (turn == "apply") == bool(turned) else before)
    then(folder)
    assert sources(folder) == (after if then is apply else before)
    apply(folder), revert(folder)
    assert list(folder.glob(".ops*")) == []  # what the killed one left


@pytest.mark.parametrize("turn", ["apply", "revert"])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("then", [apply, revert])
def test_where_folders_cannot_be_exchanged_a_kill_leaves_whole_files(killed, turn, at, then):
    kill = REFUSED + f'killed_at(Path, "replace", {2 + at})'  # after two in the copy, in vain
    folder, before, after = killed(turn, kill)
    if at == 1:  # before the first rename
        assert sources(folder) == (before if turn == "apply" else after)
    else:
        assert {state(text, name) for name, text in sources(folder).items()} == {"original", "patched"}
        assert read_contract(folder, folder.parent / "causal_conv1d").verdict == "half patched"
    then(folder)
    assert sources(folder) == (after if then is apply else before)


def test_what_a_killed_process_left_beside_the_files_goes(killed):
    folder, *_ = killed("apply", REFUSED + 'killed_at(Path, "replace", 3)')
    own = folder / "ops/.notes.part"  # somebody else's
    own.touch()
    assert len(list(folder.rglob("*.part"))) > 1
    apply(folder)
    assert list(folder.rglob("*.part")) == [own]


def test_the_error_of_a_folder_that_cannot_be_written_names_the_folder(site, monkeypatch):
    folder = site("2.2.4", "1.6.0") / "mamba_ssm"

    def failing(self, target):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(PatchError, match=rf"^{re.escape(str(folder / 'ops'))}: cannot be written \(Permission"):
        apply(folder)


def test_what_is_beside_the_two_files_stays_as_it_is(site):
    """The folder is exchanged as a whole: links, modes and times in it are those of before."""
    folder = site("2.2.4", "1.6.0") / "mamba_ssm"
    ops = folder / "ops"
    (ops / "link.py").symlink_to("selective_scan_interface.py")
    (ops / "__init__.py").chmod(0o600)
    os.utime(ops / "__init__.py", (1, 1))

    def facts():
        found = {
            path.relative_to(ops): path.lstat()
            for path in ops.rglob("*")
            if path.name not in map(os.path.basename, FILES)
        }
        return {
            name: (one.st_mode, one.st_mtime, one.st_size, one.st_uid)
            for name, one in found.items()
            if not stat.S_ISDIR(one.st_mode)
        }

    before = facts()
    apply(folder)
    assert facts() == before
    assert (ops / "link.py").readlink() == Path("selective_scan_interface.py")
    assert len(before) > 3


def test_a_shared_copy_of_the_file_stays_as_it_is(site, tmp_path):
    """uv links installed files to its cache: whoever writes into one changes it for every environment."""
    folder = site("2.2.4", "1.6.0") / "mamba_ssm"
    os.link(folder / SCAN, tmp_path / "cached.py")
    before = (tmp_path / "cached.py").read_bytes()
    apply(folder)
    assert (tmp_path / "cached.py").read_bytes() == before


# --- the command ---


def test_the_command_says_what_it_does(site, capsys):
    folder = site("2.2.4", "1.6.0")
    for name in ("causal_conv1d_cuda", "selective_scan_cuda"):
        (folder / f"{name}.py").touch()
    before = sources(folder / "mamba_ssm")

    def run(*arguments):
        code = main(["patch", "jetson", "--site", str(folder), *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    code, said = run("--apply")
    assert (code, said.count("patched ")) == (0, 2)
    assert "a pair that fits" in said
    code, said = run("--apply")
    assert code == 0
    assert said.startswith("nothing was changed: mamba-ssm 2.2.4 is patched")
    assert run("--revert") == (0, "".join(f"as it was: {folder / 'mamba_ssm' / name}\n" for name in FILES))
    assert run("--revert") == (0, "nothing was changed: there is no patch\n")
    assert sources(folder / "mamba_ssm") == before


@pytest.mark.parametrize(
    ("mamba", "conv", "code", "said"),
    [
        ("2.2.4", "1.4.0", 0, "nothing was changed: mamba-ssm 2.2.4 passes 7 and 10"),
        ("2.2.5", "1.4.0", 1, "the patch does not mend this"),
        ("2.2.4", None, 1, "the patch does not mend this"),
        (None, "1.6.0", 2, "no mamba_ssm in"),
    ],
)
def test_apply_is_refused_where_it_does_not_help(site, capsys, mamba, conv, code, said):
    folder = site(mamba, conv)
    assert main(["patch", "jetson", "--apply", "--site", str(folder)]) == code
    shown = capsys.readouterr()
    assert said in shown.out + shown.err


def test_a_folder_that_is_not_there(capsys, tmp_path):
    assert main(["patch", "jetson", "--site", str(tmp_path / "none")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_the_folder_of_the_package_does_too(site, capsys):
    """`print(mamba_ssm.__file__)` leads there."""
    folder = site("2.2.4", "1.6.0")
    stand_ins(folder)
    assert main(["patch", "jetson", "--apply", "--site", str(folder / "mamba_ssm")]) == 0
    assert read_contract(folder / "mamba_ssm", folder / "causal_conv1d").verdict == "patched"


@pytest.mark.parametrize("action", ["--check", "--apply", "--revert"])
def test_another_installation_than_the_one_that_was_asked_for_is_left_alone(
    site, tmp_path, monkeypatch, capsys, action
):
    elsewhere = site("2.2.4", "1.6.0")
    monkeypatch.syspath_prepend(str(elsewhere))
    (tmp_path / "other").mkdir()
    before = sources(elsewhere / "mamba_ssm")
    assert main(["patch", "jetson", action, "--site", str(tmp_path / "other")]) == 2
    assert "Give the folder that contains it (site-packages): --site DIR" in capsys.readouterr().err
    assert sources(elsewhere / "mamba_ssm") == before


def test_two_actions_are_one_too_many():
    done = subprocess.run(
        [sys.executable, "-m", "helpers.cli", "patch", "jetson", "--apply", "--revert"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (
        2,
        "error: found --apply and --revert, expected one of them. Give one, or none to look only.\n",
    )


def test_looking_is_the_default_and_changes_nothing(site, capsys):
    folder = site("2.2.4", "1.6.0")
    before = sources(folder / "mamba_ssm")
    assert main(["patch", "jetson", "--site", str(folder)]) == 1
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[1:] if line[:1].strip()][:4] == [
        "contract",
        "machine",
        "import",
        "distributed",
    ]
    assert sources(folder / "mamba_ssm") == before
