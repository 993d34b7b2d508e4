"""Which backend `Mamba` and `Mamba2` take, and what stands in the way of mamba_ssm's kernels, each named."""

import sys

import pytest
import torch
from on_gpu import OnGPU

from helpers.models import Mamba, Mamba2
from helpers.models.official import official_module


def mamba(**options):
    return Mamba(8, **{"d_state": 4, **options})


def mamba2(**options):
    return Mamba2(8, **{"d_state": 4, "headdim": 2, **options})


u = torch.randn(1, 4, 8)
u_on_gpu = u.as_subclass(OnGPU)
WORKING = "causal_conv1d_fn = mamba_inner_fn = selective_scan_cuda = type('Any', (), {'fwd': None})"
OLD = WORKING + "; mamba_split_conv1d_scan_combined = None"
NEW = OLD + "; ensure_stride = None"


@pytest.fixture
def packages(monkeypatch, tmp_path):
    """Write packages that stand before the installed ones; without content, a package is as if not installed."""

    def write(**contents):
        for name in [*sys.modules]:
            if name.partition(".")[0] in ("mamba_ssm", "causal_conv1d"):
                monkeypatch.delitem(sys.modules, name)
        for name, content in contents.items():
            if content is None:
                monkeypatch.setitem(sys.modules, name, None)
            else:
                (tmp_path / name / "ops" / "triton").mkdir(parents=True)
                (tmp_path / name / "__init__.py").write_text("")
                (tmp_path / name / "ops" / "selective_scan_interface.py").write_text(content)
                (tmp_path / name / "ops" / "triton" / "ssd_combined.py").write_text(content)
        monkeypatch.syspath_prepend(tmp_path)
        official_module.cache_clear()

    yield write
    official_module.cache_clear()
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("mamba_ssm", "causal_conv1d"):
            del sys.modules[name]  # monkeypatch puts back what was there before


@pytest.mark.parametrize("block", [mamba, mamba2])
def test_auto_takes_the_kernel_where_it_can_be_used(packages, block):
    packages(mamba_ssm=NEW, causal_conv1d="")
    assert block().backend_for(u) == "torch"
    assert block().backend_for(u_on_gpu) == "mamba_ssm"
    assert block(backend="mamba_ssm").backend_for(u_on_gpu) == "mamba_ssm"
    assert block(backend="torch").backend_for(u_on_gpu) == "torch"
    assert block().backend_for(u.bfloat16().as_subclass(OnGPU)) == "mamba_ssm"
    assert block().backend_for(u.double().as_subclass(OnGPU)) == "torch"


@pytest.mark.parametrize(
    ("block", "options", "u", "message"),
    [
        (mamba, {}, u, "the input is on cpu, expected cuda"),
        (mamba2, {}, u, "the input is on cpu, expected cuda"),
        (mamba, {}, u.double().as_subclass(OnGPU), "the input is torch.float64, expected float32"),
        (mamba2, {}, u.double().as_subclass(OnGPU), "the input is torch.float64, expected float32"),
        (mamba, {"d_conv": 5}, u_on_gpu, "d_conv is 5, expected 2 to 4, the widths that causal_conv1d has kernels for"),
        (mamba2, {"d_conv": 5}, u_on_gpu, "d_conv is 5, expected 2 to 4"),
        (mamba2, {"d_conv": 1}, u_on_gpu, "d_conv is 1, expected 2 to 4"),
        (mamba, {"d_state": 257}, u_on_gpu, "d_state is 257, expected at most 256"),
        (mamba2, {"headdim": 512, "expand": 64}, u_on_gpu, "headdim is 512, expected at most 256"),
        (mamba2, {"d_state": 3}, u_on_gpu, "2 x ngroups x d_state is 6, expected multiples of 8"),
        (mamba2, {"expand": 3, "headdim": 3}, u_on_gpu, None),
    ],
)
def test_the_kernel_asked_for_by_name_says_what_it_needs(packages, block, options, u, message):
    packages(mamba_ssm=NEW, causal_conv1d="")
    if message is None:  # the case beside the limits
        assert block(backend="mamba_ssm", **options).backend_for(u) == "mamba_ssm"
        return
    with pytest.raises(RuntimeError, match=rf"backend 'mamba_ssm': .*{message}.*backend='torch'"):
        block(backend="mamba_ssm", **options)(u)
    assert block(**options).backend_for(u) == "torch"


def test_a_width_of_in_proj_that_older_releases_cannot_read_is_named(packages):
    packages(mamba_ssm=OLD, causal_conv1d="")
    assert mamba2(backend="mamba_ssm").backend_for(u_on_gpu) == "mamba_ssm"  # 2 · 16 + 2 · 4 + 8 = 48
    with pytest.raises(RuntimeError, match=r"in_proj is 44 wide, expected a multiple of 8 before mamba_ssm 2\.3"):
        mamba2(backend="mamba_ssm", headdim=4)(u_on_gpu)  # 4 heads


def test_a_state_is_torch_or_by_name_an_error(packages):
    packages(mamba_ssm=NEW, causal_conv1d="")
    block, named = mamba2(), mamba2(backend="mamba_ssm")
    state = block.initial_state(1)
    assert block.backend_for(u_on_gpu, state) == "torch"
    assert block.backend_for(u_on_gpu, return_state=True) == "torch"
    for call in (
        lambda: named(u_on_gpu, state),
        lambda: named(u_on_gpu, return_state=True),
        lambda: named.step(u_on_gpu[:, 0], state),
    ):
        with pytest.raises(RuntimeError, match=r"it hands no state from piece to piece.*backend='torch'"):
            call()


@pytest.mark.parametrize("block", [mamba, mamba2])
@pytest.mark.parametrize("missing", ["mamba_ssm", "causal_conv1d"])
def test_a_package_that_is_not_installed_is_named(packages, block, missing, recwarn):
    packages(**{"mamba_ssm": NEW, "causal_conv1d": "", missing: None})
    assert block().backend_for(u_on_gpu) == "torch"
    assert not recwarn.list
    with pytest.raises(RuntimeError, match=f"{missing} is not installed. Install it as `workbook plan` says, or take"):
        block(backend="mamba_ssm")(u_on_gpu)


@pytest.mark.parametrize("block", [mamba, mamba2])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("raise ImportError('undefined symbol: _ZN3c104cuda9SetDeviceEi')", "ImportError: undefined symbol: _ZN3c104"),
        ("raise OSError('libcudart.so.12')", "OSError: libcudart.so.12"),
        (NEW + "; causal_conv1d_fn = None", "cannot use the causal_conv1d that is installed"),
    ],
)
def test_a_broken_package_is_a_warning_or_by_name_an_error(packages, block, content, message):
    packages(mamba_ssm=content, causal_conv1d="")
    with pytest.warns(UserWarning, match=rf"mamba_ssm is installed but unusable .*{message}.*workbook doctor"):
        assert block().backend_for(u_on_gpu) == "torch"
    with pytest.raises(RuntimeError, match=rf"backend 'mamba_ssm': mamba_ssm is installed but unusable .*{message}"):
        block(backend="mamba_ssm")(u_on_gpu)


def test_triton_kernels_need_no_compiled_ones(packages):
    packages(mamba_ssm=NEW + "; selective_scan_cuda = None", causal_conv1d="")
    assert mamba2().backend_for(u_on_gpu) == "mamba_ssm"
    with pytest.warns(UserWarning, match=r"unusable \(ImportError: it was built without its CUDA kernels\)"):
        assert mamba().backend_for(u_on_gpu) == "torch"


@pytest.mark.parametrize("block", [mamba, mamba2])
def test_a_backend_that_there_is_none_of_is_named(block):
    with pytest.raises(ValueError, match="backend is 'triton'; expected one of auto, torch, mamba_ssm"):
        block(backend="triton")
