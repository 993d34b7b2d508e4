"""What the tests of the models share: random, unequal values of tensors and parameters, all gradients of a scan."""

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


def assert_equal_with_gradients(found, expected, inputs):
    """Two ways to the same numbers, outputs and gradients; zero where a gradient does not exist in one of them."""
    torch.testing.assert_close(found, expected, **FLOAT64)
    weight = torch.randn_like(found)
    unused = {"allow_unused": True, "materialize_grads": True}
    ours, oracle = (torch.autograd.grad((y * weight).sum(), inputs, **unused) for y in (found, expected))
    torch.testing.assert_close(ours, oracle, **FLOAT64)


def trained(block, u):
    """Output, and the gradients of the parameters by name, of a loss of squares."""
    y = block(u)
    y.square().sum().backward()
    return y.detach(), {name: parameter.grad for name, parameter in block.named_parameters()}
