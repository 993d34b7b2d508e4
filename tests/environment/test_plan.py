"""What `plan` says for tuples whose answer the facts fix, for wrong input, for this machine, and for any tuple."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from helpers.environment import Host, main
from helpers.environment.plan import Target, TargetError, contract_kept, find_target, plan

X86, ARM = "linux_x86_64", "linux_aarch64"
CASES = [
    # torch, CUDA, cxx11 ABI, Python, platform, GPU: kind, mamba-ssm, causal-conv1d
    (("2.0.1", "11.8", False, "3.10", X86, "8.0"), "wheels", "2.2.2", "1.4.0"),
    (("2.1.2", "12.1", False, "3.11", X86, "8.0"), "wheels", "2.2.4", "1.5.0.post8"),
    (("2.2.2", "12.1", False, "3.11", X86, "8.0"), "wheels", "2.2.4", "1.5.0.post8"),
    (("2.2.2", "12.1", False, "3.8", X86, "8.0"), "wheels", "2.2.2", "1.4.0"),
    (("2.3.1", "11.8", False, "3.12", X86, "8.6"), "wheels", "2.2.4", "1.5.0.post8"),
    (("2.4.1", "12.4", False, "3.11", X86, "9.0"), "wheels", "2.3.0", "1.5.2"),
    (("2.5.1", "12.4", False, "3.13", X86, "9.0"), "wheels", "2.3.0", "1.6.0"),
    (("2.5.1", "12.4", False, "3.9", X86, "9.0"), "wheels", "2.2.4", "1.5.0.post8"),
    (("2.5.1", "12.4", True, "3.11", X86, "9.0"), "wheels", "2.3.0", "1.6.0"),
    (("2.6.0", "12.4", False, "3.11", X86, "9.0"), "wheels", "2.3.1", "1.6.2.post1"),
    (("2.6.0", "12.6", True, "3.11", X86, "9.0"), "wheels", "2.3.1", "1.6.2.post1"),
    (("2.6.0", "11.8", False, "3.11", X86, "9.0"), "wheels", "2.3.1", "1.6.2.post1"),
    (("2.7.1", "12.8", True, "3.12", X86, "9.0"), "wheels", "2.3.1", "1.6.2.post1"),
    (("2.8.0", "12.8", True, "3.12", X86, "8.9"), "wheels", "2.3.1", "1.6.2.post1"),
    (("2.9.1", "13.0", True, "3.12", X86, "9.0"), "wheels", "2.3.1", "1.6.2.post1"),
    (("2.10.0", "12.8", True, "3.13", X86, "7.5"), "wheels", "2.3.1", "1.6.2.post1"),
    (("2.10.0", "13.0", True, "3.10", X86, None), "wheels", "2.3.1", "1.6.2.post1"),
    (("2.7.1", "12.8", True, "3.12", ARM, "9.0"), "wheels", "2.3.1", "1.6.2.post1"),
    (("2.5.1", "12.4", True, "3.12", ARM, "9.0"), "wheels", "2.3.0", "1.6.0"),
    (("2.6.0", "12.6", True, "3.11", X86, "7.0"), "wheels", "2.3.1", "1.6.1"),  # Volta: 1.6.2 dropped it
    (("2.7.1", "12.8", True, "3.12", X86, "12.0"), "wheels", "2.3.1", "1.6.1"),  # the one whose nvcc is known
    (("2.8.0", "12.8", False, "3.12", X86, "9.0"), "build", "2.3.1", "1.7.0"),  # own build with the old std::string
    (("2.10.0", "13.0", True, "3.14", X86, "9.0"), "build", "2.3.1", "1.7.0"),
    (("2.11.0", "13.0", True, "3.12", X86, "9.0"), "build", "2.3.1", "1.7.0"),
    (("2.13.0", "12.6", True, "3.12", X86, "9.0"), "build", "2.3.1", "1.7.0"),
    (("2.12.0", "12.6", True, "3.12", X86, "7.0"), "build", "2.3.1", "1.6.1"),
    (("2.14.1", "13.0", True, "3.12", X86, "9.0"), "switch", "2.3.1", "1.6.2.post1"),  # else four commands: C++20
    (("2.14.1", "13.0", True, "3.12", ARM, "9.0"), "build", "2.3.1", "1.7.0"),
    (("2.5.0a0", "12.6", True, "3.10", ARM, "8.7"), "build", "2.3.1", "1.7.0"),  # Jetson
    (("2.2.0a0", "12.2", True, "3.10", ARM, "8.7"), "build", "2.2.4", "1.5.0.post8"),
    (("1.13.1", "11.7", False, "3.10", X86, "8.0"), "switch", "2.3.1", "1.6.2.post1"),
    (("2.11.0", "13.0", True, "3.12", X86, "7.0"), "switch", "2.3.1", "1.6.1"),  # CUDA 13 has no Volta
    (("2.11.0", "13.0", True, "3.12", ARM, "7.2"), "none", None, None),
    (("2.5.1", "12.4", False, "3.11", X86, "none"), "nothing", None, None),
    (("2.5.1", "12.4", False, "3.11", X86, "6.1"), "nothing", None, None),  # Pascal
    (("2.5.1", "12.4", False, "3.11", X86, "5.2"), "nothing", None, None),
    (("2.13.0", None, None, "3.11", X86, "none", "cpu"), "nothing", None, None),
    (("2.13.0", None, None, "3.11", X86, "9.0", "cpu"), "nothing", None, None),
    (("2.9.1", None, None, "3.12", X86, None, "rocm"), "nothing", None, None),
    (("2.9.1", None, None, "3.12", "macosx_14_0_arm64", None, "mps"), "nothing", None, None),
    (("2.9.1", "12.8", True, "3.12", "win_amd64", "8.9"), "wsl2", None, None),
    (("2.9.0a0", "13.0", True, "3.12", X86, "9.0", "cuda", "25.11"), "wheels", "2.3.1", "1.6.2.post1"),
    (("2.9.0a0", "13.0", True, "3.12", X86, "9.0", "cuda", "26.04"), "wheels", "2.3.2.post1", "1.6.2.post1"),
    (("2.9.0a0", "13.0", True, "3.12", X86, "9.0", "cuda", "26.06"), "build", "2.3.1", "1.7.0"),
]


@pytest.mark.parametrize(("tuple_", "kind", "mamba", "convolution"), CASES)
def test_answers(tuple_, kind, mamba, convolution):
    made = plan(Target(*tuple_))
    chosen = (made.chosen.mamba, made.chosen.causal_conv1d) if made.chosen else (None, None)
    assert (made.kind, *chosen) == (kind, mamba, convolution)
    check_commands(made)
    check_screen(made)


@pytest.mark.parametrize(
    ("tuple_", "wanted"),
    [
        (("2.5.0a0", "12.6", True, "3.10", ARM, "8.7"), True),  # NVIDIA's torch for a Jetson declares none
        (("2.5.1", "12.4", True, "3.12", ARM, "9.0"), True),
        (("2.11.0", "13.0", True, "3.12", ARM, "9.0"), False),  # torch brings the one that fits it
        (("2.5.1", "12.4", False, "3.11", X86, "9.0"), False),
    ],
)
def test_triton_is_named_where_torch_does_not_bring_it(tuple_, wanted):
    """`import mamba_ssm` imports it, and the packages are installed without what they declare."""
    made = plan(Target(*tuple_))
    assert ('"triton<3.6"' in "\n".join(made.commands)) is wanted
    assert any(note.startswith("triton<3.6: ") for note in made.notes) is wanted


def check_commands(made):
    """What holds of every plan: shell, requirements, addresses, contract."""
    for commands in (made.commands, made.other_commands):
        text = "\n".join(commands)
        assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0
        assert "TORCH_CUDA_ARCH_LIST" not in text
        assert "LD_LIBRARY_PATH" not in text
        versions, torch, cuda = {}, made.target.minor, made.target.cuda
        for command in commands:
            words = shlex.split(command)
            while "=" in words[0]:
                words.pop(0)
            if words[:4] != ["python", "-m", "pip", "install"]:
                assert words[0] in ("git", "sed")
                continue
            for word in words[4:]:
                if word.startswith("https://download.pytorch.org/whl/cu"):
                    cuda = word.rpartition("cu")[2]
                    cuda = f"{cuda[:-1]}.{cuda[-1]}"
                elif word.startswith("https://"):
                    name, version, _, tags = parse_wheel_filename(word.rpartition("/")[2])
                    versions[name] = version.public
                    word_for = f"cu{Version(cuda).major}"
                    told = re.fullmatch(r"(cu\d\d)\d?torch([\d.]+)cxx11abi(true|false)", version.local)
                    assert told[1] == word_for
                    assert told[2] == torch
                    kept = torch == made.target.minor and made.kind == "wheels"  # a torch of PyPI's has the new string
                    assert told[3] in {str(made.target.abi).lower()} | (set() if kept else {"true"})
                    python = made.target.python.replace(".", "")
                    assert {str(tag) for tag in tags} == {f"cp{python}-cp{python}-{made.target.platform}"}
                elif word.startswith("./"):
                    name, _, versions_ = word[2:].rpartition("-")
                    versions[name] = versions_
                elif not word.startswith("--"):
                    item = Requirement(word)
                    if item.url:
                        versions[item.name] = item.url.rpartition("@v")[2]
                    elif item.name in ("mamba-ssm", "causal-conv1d", "torch"):
                        (pinned,) = item.specifier
                        versions[item.name] = pinned.version
                    if item.name == "torch":
                        torch = "{}.{}".format(*Version(versions.pop("torch")).release[:2])
        if commands:
            assert contract_kept(versions["mamba-ssm"], versions["causal-conv1d"])


def check_screen(made):
    lines = str(made).splitlines()
    assert made.answer.split()[0] in lines[0]
    assert len(lines) <= 50
    assert all(len(line) <= 80 or "https://" in line for line in lines), [line for line in lines if len(line) > 80]


def test_pins_of_torch_2_2():
    made = plan(Target("2.2.2", "12.1", False, gpu="8.0"))
    assert made.commands[1].split(" install ")[1] == (
        'einops ninja "numpy<2" packaging "setuptools>=61.0.0" "transformers<5"'
    )
    assert '"transformers<4.52"' in plan(Target("2.1.2", "12.1", False, gpu="8.0")).commands[1]
    assert "transformers<" not in plan(Target("2.6.0", "12.4", False, gpu="8.0")).commands[1]
    assert '"transformers<5"' in plan(Target("2.6.0", "12.4", False, gpu="8.0"), "2.2.6.post3").commands[1]


def test_a_build_is_forced_and_sees_this_torch():
    (tools, build) = plan(Target("2.13.0", "13.0", True, gpu="9.0")).commands
    assert all(word in tools.split() for word in ("ninja", "packaging", "wheel"))
    assert build == (
        "CAUSAL_CONV1D_FORCE_BUILD=TRUE MAMBA_FORCE_BUILD=TRUE MAX_JOBS=2 python -m pip install "
        '--no-build-isolation --no-cache-dir --no-deps "causal-conv1d==1.7.0" "mamba-ssm==2.3.1"'
    )


def test_without_sources_on_pypi_a_build_is_from_git():
    (tools, build) = plan(Target("2.2.0a0", "12.2", True, "3.10", ARM, "8.7")).commands
    assert '"setuptools<70,>=61.0.0"' in tools
    assert '"causal-conv1d @ git+https://github.com/Dao-AILab/causal-conv1d@v1.5.0.post8"' in build
    assert '"mamba-ssm @ git+https://github.com/state-spaces/mamba@v2.2.4"' in build


def test_torch_2_14_gets_a_patched_clone(tmp_path):
    made = plan(Target("2.14.1", "13.0", True, "3.12", ARM, "9.0"))
    assert "git clone --depth 1 --branch v2.3.1 https://github.com/state-spaces/mamba mamba-ssm-2.3.1" in made.commands
    (sed,) = [command for command in made.commands if command.startswith("sed")]
    (tmp_path / "mamba-ssm-2.3.1").mkdir()
    setup = tmp_path / "mamba-ssm-2.3.1/setup.py"
    setup.write_text('"cxx": ["-O3", "-std=c++17"], "-std=c++17"\n"cxx": ["-std=c++17"]')
    subprocess.run(sed, shell=True, cwd=tmp_path, check=True)
    assert '"cxx": ["-O3", "-std=c++20"]' in setup.read_text()
    assert made.commands[-1].endswith('"./mamba-ssm-2.3.1"')
    assert not any("sed" in command for command in plan(Target("2.13.0", "13.0", True, "3.12", ARM, "9.0")).commands)


def test_a_pair_that_breaks_the_contract_gets_no_commands():
    made = plan(Target("2.5.1", "12.4", False, gpu="8.0"), "2.2.4", "1.6.0")
    assert (made.kind, made.commands, made.possible) == ("broken", (), False)
    assert "passes 7 arguments" in made.answer
    assert "takes 8" in made.answer


def test_every_pair_is_told():
    made = plan(Target("2.6.0", "12.4", False, gpu="8.0"))
    assert len(made.pairs) == 49
    for row in made.pairs:
        assert row.contract is contract_kept(row.mamba, row.causal_conv1d)
        assert not row.way or row.contract
    nightly = next(row for row in made.pairs if (row.mamba, row.causal_conv1d) == ("2.2.4", "1.5.0.post8"))
    assert (nightly.mamba_wheel.pip, nightly.way) == ("nightly", "build")


def test_json_and_commands(capsys):
    arguments = ["plan", "--torch", "2.5.1+cu124", "--gpu", "9.0", "--python", "3.11", "--platform", X86]
    assert main([*arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert main([*arguments, "--commands"]) == 0
    assert capsys.readouterr().out.splitlines() == facts["commands"]
    assert facts["kind"] == "wheels"
    assert facts["target"]["abi"] is False
    assert facts["chosen"]["mamba_wheel"]["url"].endswith(
        "/v2.3.0/mamba_ssm-2.3.0+cu12torch2.5cxx11abiFALSE-cp311-cp311-linux_x86_64.whl"
    )
    assert main(["plan", "--torch", "2.5.1+cpu", "--commands"]) == 0
    assert capsys.readouterr().out.startswith("# Nothing to install")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--torch", "new"], "such as 2.5.1+cu124"),
        (["--torch", "2.5.1"], "Give --cuda 12.4"),
        (["--torch", "2.5.1+cu124", "--cuda", "12.1"], "Give one of them"),
        (["--torch", "2.5.1+cu124", "--abi", "maybe"], "expected TRUE or FALSE"),
        (["--torch", "2.5.1+cu124", "--python", "311"], "expected such as 3.11"),
        (["--torch", "2.5.1+cu124", "--platform", "linux_ppc64le"], "linux_aarch64"),
        (["--torch", "2.5.1+cu124", "--gpu", "H100"], "9.0"),
        (["--torch", "2.5.1", "--cuda", "new"], "12.4"),
        (["--torch", "2.5.1+cu124", "--mamba", "9.9"], "2.3.2.post1"),
        (["--torch", "2.5.1+cu124", "--causal-conv1d", "1.5.4"], "1.5.2"),
        (["--torch", "2.5.0a0+git1", "--cuda", "12.4"], "Give --abi"),
        (["--torch", "2.5.1+cu124", "--platform", ARM], "Give --abi"),
    ],
)
def test_one_line_says_what_is_wrong(arguments, said, capsys):
    assert main(["plan", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("error: ")
    assert said in shown.err


def test_exit_code_1_where_there_is_no_way(capsys):
    given = ["--torch", "2.5.1+cu124", "--platform", X86, "--gpu", "8.0"]
    assert main(["plan", *given, "--mamba", "2.2.4", "--causal-conv1d", "1.7.0"]) == 1
    assert "Not this pair" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("torch", "platform", "cuda", "cxx11"),
    [
        ("2.2.2+cu121", X86, "12.1", False),
        ("2.6.0+cu124", X86, "12.4", False),
        ("2.6.0+cu126", X86, "12.6", True),
        ("2.6.0+cu118", X86, "11.8", False),
        ("2.7.1+cu128", X86, "12.8", True),
        ("2.10.0+cu130", X86, "13.0", True),
        ("2.4.1+cu124", ARM, "12.4", False),
        ("2.6.0+cu126", ARM, "12.6", True),
    ],
)
def test_std_string_of_official_wheels(torch, platform, cuda, cxx11):
    target = find_target(torch=torch, platform=platform, python="3.11")
    assert (target.cuda, target.abi) == (cuda, cxx11)


def fake_host(tmp_path, version, cuda, symbol="", environ=None, **facts):
    """A machine with a torch of metadata, version.py and, where a symbol is given, a compiled libc10.so."""
    site = tmp_path / "site"
    info = site / f"torch-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: torch\nVersion: {version}\n")
    (site / "torch/lib").mkdir(parents=True)
    (site / "torch/version.py").write_text(f"__version__ = '{version}'\ncuda = {cuda!r}\n")
    if symbol:
        library = site / "torch/lib/libc10.so"
        source = f'extern "C" void {symbol}(void) {{}}'
        subprocess.run(
            ["g++", "-shared", "-fPIC", "-x", "c++", "-", "-o", library], input=source, text=True, check=True
        )
    return Host(root=tmp_path, path=(str(site),), environ={"PATH": "", **(environ or {})}, **facts)


@pytest.mark.parametrize(
    ("symbol", "cxx11"),
    [
        ("_ZN3c105ErrorC1ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE", True),
        ("_ZN3c105ErrorC1ENS_14SourceLocationESs", False),
    ],
)
def test_an_installed_torch_tells_its_std_string(symbol, cxx11, tmp_path):
    facts = {"python": (3, 12, 1), "system": "Linux", "architecture": "x86_64"}
    target = find_target(fake_host(tmp_path, "2.6.0+cu124", "12.4", symbol, **facts))
    assert target == Target("2.6.0+cu124", "12.4", cxx11, "3.12", X86, "none")


def test_nothing_heavy_is_imported():
    code = "import sys; from helpers.environment import main; main(['plan']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_the_std_string_that_no_file_tells_is_asked_for(tmp_path):
    with pytest.raises(TargetError, match="Give --abi TRUE or FALSE"):
        find_target(fake_host(tmp_path, "2.6.0+cu124", "12.4", system="Linux", architecture="x86_64"))


def test_an_nvidia_container_is_known_by_its_variables(tmp_path):
    environ = {"NVIDIA_PRODUCT_NAME": "PyTorch", "NVIDIA_PYTORCH_VERSION": "25.11"}
    facts = {"environ": environ, "system": "Linux", "architecture": "aarch64"}
    target = find_target(fake_host(tmp_path, "2.10.0a0+b558c986e8.nv25.11", "13.0", **facts), abi="true", gpu="9.0")
    assert (target.container, target.minor, target.platform) == ("25.11", "25.11", ARM)


def test_no_torch_is_asked_for(tmp_path):
    with pytest.raises(TargetError, match="torch is not installed here"):
        find_target(Host(root=tmp_path, path=(), environ={"PATH": ""}))


TARGETS = st.builds(
    Target,
    torch=st.builds("{}{}".format, st.sampled_from(["1.13.1", *(f"2.{minor}.1" for minor in range(17))]), st.just("")),
    cuda=st.sampled_from(["10.2", "11.3", "11.8", "12.1", "12.4", "12.6", "12.8", "13.0", "14.0"]),
    abi=st.booleans(),
    python=st.sampled_from([f"3.{minor}" for minor in range(7, 16)]),
    platform=st.sampled_from([X86, ARM, "win_amd64", "macosx_14_0_arm64"]),
    gpu=st.sampled_from([None, "none", "5.2", "6.1", "7.0", "7.5", "8.7", "9.0", "10.3", "12.0", "12.1"]),
    container=st.sampled_from(["", "", "", "25.09", "26.04", "30.01"]),
)


@settings(max_examples=150, deadline=None)
@given(TARGETS, st.sampled_from([None, "2.2.2", "2.2.4", "2.3.1"]), st.sampled_from([None, "1.4.0", "1.6.1", "1.7.0"]))
def test_any_tuple(target, mamba, convolution):
    made = plan(target, mamba, convolution)
    check_commands(made)
    check_screen(made)
    json.dumps(made.to_dict())
    assert bool(made.commands) == (made.kind in ("wheels", "build", "switch"))
    if made.chosen:
        assert mamba in (None, made.chosen.mamba)
        assert convolution in (None, made.chosen.causal_conv1d)
