"""Compare an attention module with a slow reference in float64: output, input gradient, every parameter gradient.

A reference is a function (x, p, training) -> output of float64 tensors, where p holds the parameters and buffers of the
module by their state-dict names. It is written from the published formula and shares no code with the module.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

Parameters = dict[str, Tensor]
Reference = Callable[[Tensor, Parameters, bool], Tensor]

# (B, C, H, W); modules whose definition divides the channels bring their own.
SHAPES = ((1, 8, 1, 1), (2, 16, 7, 7), (1, 255, 13, 21), (2, 24, 20, 20), (1, 8, 80, 80), (2, 100, 1, 7), (1, 33, 5, 1))


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and buffer a value that leaves no term of the formula at zero or one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = max(1, parameter[0].numel()) if parameter.dim() > 1 else 1
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
            parameter.copy_(noise * (0.5 / fan_in**0.5) + (0.3 if parameter.dim() == 1 else 0.05))
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.float32) + 0.5)
    return module


def run(function: Callable[[Tensor], Tensor], x: Tensor, leaves: Iterable[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Output, and gradients of a fixed random projection of it with respect to x and the leaves."""
    x = x.detach().clone().requires_grad_()
    output = function(x)
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.dtype)
    leaves = [x, *leaves]
    gradients = torch.autograd.grad((output * weight).sum(), leaves, allow_unused=True)
    return output.detach(), [
        torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, gradients, strict=True)
    ]


def relative_error(value: Tensor, expected: Tensor, least: float = 0.0) -> float:
    """Largest difference over the largest expected value (or `least`, where that is larger)."""
    scale = max(float(expected.abs().max()) if expected.numel() else 0.0, least, 1e-300)
    return float((value.double() - expected).abs().max()) / scale if value.numel() else 0.0


def check(
    module: nn.Module,
    reference: Reference,
    shape: tuple[int, int, int, int],
    *,
    training: bool = False,
    tolerances: tuple[float, float] = (1e-6, 1e-5),
    seed: int = 0,
) -> None:
    """Assert that module and reference agree to 1e-9 in float64 and to `tolerances` in float32.

    Args:
        module: Freshly built, float32.
        reference: See the module docstring.
        shape: Of the input.
        training: Compare in train mode.
        tolerances: Float32 bounds, relative to the largest value, of the output and of each gradient.
        seed: Of the input and the parameters.
    """
    randomise(module, seed).train(training)
    state = {name: value.detach().clone() for name, value in module.state_dict().items()}
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1))
    p = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    names = [name for name, _ in module.named_parameters()]
    for name in names:
        p[name].requires_grad_()
    expected, expected_gradients = run(lambda x: reference(x, p, training), x.double(), [p[name] for name in names])
    largest = max(float(g.abs().max()) for g in expected_gradients if g.numel())
    for dtype, (output_tolerance, gradient_tolerance) in ((torch.float64, (1e-9, 1e-9)), (torch.float32, tolerances)):
        module.to(dtype).load_state_dict(state)
        output, gradients = run(module, x.to(dtype), list(module.parameters()))
        assert output.shape == expected.shape
        assert output.dtype == dtype
        error = relative_error(output, expected)
        assert error <= output_tolerance, f"{dtype} output: {error:.2e}"
        for name, value, wanted in zip(["x", *names], gradients, expected_gradients, strict=True):
            # Some gradients are zero by definition (a bias before a normalisation or under a softmax): in float32 they
            # hold rounding noise of the others, so float32 is measured against the largest gradient of all.
            error = relative_error(value, wanted, least=largest * (1e-3 if dtype is torch.float64 else 1))
            assert error <= gradient_tolerance, f"{dtype} gradient of {name}: {error:.2e}"


def batch_norm(x: Tensor, p: Parameters, prefix: str, training: bool, eps: float = 1e-5) -> Tensor:
    """Batch normalisation of (B, C, ...) written out; a single value per channel takes the running statistics."""
    dims = [d for d in range(x.dim()) if d != 1]
    shape = [-1 if d == 1 else 1 for d in range(x.dim())]
    if training and x.numel() // x.shape[1] > 1:
        mean = x.mean(dims, keepdim=True)
        variance = ((x - mean) ** 2).mean(dims, keepdim=True)
    else:
        mean, variance = p[f"{prefix}.running_mean"].view(shape), p[f"{prefix}.running_var"].view(shape)
    return (x - mean) / (variance + eps) ** 0.5 * p[f"{prefix}.weight"].view(shape) + p[f"{prefix}.bias"].view(shape)


def sigmoid(z: Tensor) -> Tensor:
    """1 / (1 + exp(-z)), for the moderate z of these tests."""
    return 1 / (1 + torch.exp(-z))


def softmax(z: Tensor, dim: int) -> Tensor:
    """Softmax written out."""
    e = torch.exp(z - z.max(dim, keepdim=True).values.detach())
    return e / e.sum(dim, keepdim=True)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Tensor:
    """Convolution with a loop over the kernel's taps, zero padding that keeps the size, stride 1, no groups."""
    size = weight.shape[2]
    pad = dilation * (size // 2)
    height, width = x.shape[2:]
    padded = x.new_zeros(*x.shape[:2], height + 2 * pad, width + 2 * pad)
    padded[:, :, pad : pad + height, pad : pad + width] = x
    output = x.new_zeros(x.shape[0], weight.shape[0], height, width)
    for i in range(size):
        for j in range(size):
            window = padded[:, :, i * dilation : i * dilation + height, j * dilation : j * dilation + width]
            output = output + torch.einsum("oc,bchw->bohw", weight[:, :, i, j], window)
    return output if bias is None else output + bias.view(1, -1, 1, 1)
