"""What the tests of the models share: random, unequal values of tensors and parameters, and gradients compared."""

import torch

FLOAT64 = {"rtol": 1e-9, "atol": 1e-10}  # two orders of the same sums: rounding only, of values of order 1 to 100


def normals(seed, dtype=torch.float64):
    """A function that draws from a normal distribution: ``normal(2, 3)`` is the next tensor of that shape."""
    random = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype)


def randomized(module, seed):
    """Norm weights of 1, skips of 1 and equal rates would hide a mistake: everything gets an unequal value."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=random))
    return module.double()


def gradients(function, inputs, seed, **options):
    """Output, final state, and the gradients by input of a loss that weighs every number of both unequally.

    The weights are numbers of the input's dtype, so that the gradient of y is the same in every dtype.
    """
    y, state = function(**inputs, return_final_state=True, **options)
    normal = normals(seed + 1, inputs["x"].dtype)
    loss = (y.double() * normal(*y.shape).double()).sum() + (state.double() * normal(*state.shape).double()).sum()
    learned = {name: value for name, value in inputs.items() if value.requires_grad}
    found = torch.autograd.grad(loss, list(learned.values())) if learned else ()
    return y, state, dict(zip(learned, found, strict=True))


def by_name(block, u, y):
    """Gradients of u and of the parameters, of a loss that weighs every number of y unequally.

    Zero where there is none: a decay at a length of 1. The weights are the same in every call and every process.
    """
    inputs = {"u": u, **dict(block.named_parameters())}
    loss = (y * normals(97, y.dtype)(*y.shape)).sum()
    found = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(inputs, found, strict=True))


def assert_equals_by_hand(block, by_hand, u):
    """``by_hand(block, u)`` goes another way to the same numbers: the output, and the gradients of u and parameters."""
    found, expected = block(u), by_hand(block, u)
    torch.testing.assert_close(found, expected, **FLOAT64)
    torch.testing.assert_close(by_name(block, u, found), by_name(block, u, expected), **FLOAT64)


def assert_within(tolerance, found, expected):
    """Output and gradients by name, each off by less than this share of its largest value in float64."""
    (y, grads), (expected_y, expected_grads) = found, expected
    assert (y.double() - expected_y).abs().max() < tolerance * expected_y.abs().max()
    for name, grad in grads.items():
        assert (grad.double() - expected_grads[name]).abs().max() < tolerance * expected_grads[name].abs().max(), name


def assert_rounded(found, expected, dtype, tolerance):
    """Output and gradients in `dtype`: the output rounded once, each off by at most this share of its largest value."""
    once = 2**-8 if dtype == torch.bfloat16 else 1e-5  # half a unit of each value
    torch.testing.assert_close(found[0].double(), expected[0], rtol=once, atol=1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        assert (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max()
