"""Every operator with a backward of its own beside its plain form: values and gradients, in both memory formats."""

import pytest
import torch
import torch.nn.functional as F

from models.attention.parts import CHANNELS, HEIGHT, POSITIONS, WIDTH, SharedMap, dense_attention
from models.attention.parts.energy_gate import energy_gate
from models.attention.parts.gram import gram, mix_channels
from models.attention.parts.reductions import mean, total, total_to
from models.attention.parts.shifted_copies import mix_copies, shifted_copies, sum_copies

FORMATS = (torch.contiguous_format, torch.channels_last)
AXES = (CHANNELS, HEIGHT, WIDTH, POSITIONS)
every_format = pytest.mark.parametrize("memory_format", FORMATS, ids=["contiguous", "channels_last"])
every_axes = pytest.mark.parametrize("axes", AXES, ids=["channels", "height", "width", "positions"])


def leaf(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype).requires_grad_()


def outputs_and_gradients(function, leaves):
    outputs = function(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    generator = torch.Generator().manual_seed(3)
    loss = sum((o * torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype)).sum() for o in outputs)
    return *outputs, *torch.autograd.grad(loss, leaves)


def compare(operator, plain, *leaves, memory_format=torch.contiguous_format):
    """Equal in float64 and float32, and gradients that finite differences confirm."""

    def stored(x, *others):
        return operator(x.contiguous(memory_format=memory_format), *others)

    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 2e-5)):
        cast = [t.detach().to(dtype).requires_grad_() for t in leaves]
        results = outputs_and_gradients(stored, cast), outputs_and_gradients(plain, cast)
        for value, expected in zip(*results, strict=True):
            assert value.dtype == expected.dtype
            torch.testing.assert_close(
                value, expected, rtol=tolerance, atol=tolerance * float(expected.detach().abs().max())
            )
    assert torch.autograd.gradcheck(stored, leaves)


@every_format
@every_axes
def test_mean(axes, memory_format):
    def operator(x):
        shared = SharedMap(x)
        average = shared.mean(axes)
        return average, shared.gate(average.sigmoid())

    def plain(x):
        average = x.mean(axes, keepdim=True)
        return average, x * average.sigmoid()

    compare(operator, plain, leaf(2, 3, 4, 5), memory_format=memory_format)


@every_format
@every_axes
def test_maximum_and_mean(axes, memory_format):
    def operator(x):
        shared = SharedMap(x)
        largest, average = shared.maximum_and_mean(axes)
        return largest, shared.gate((largest * average).sigmoid())

    def plain(x):
        largest, average = x.amax(axes, keepdim=True), x.mean(axes, keepdim=True)
        return largest, x * (largest * average).sigmoid()

    compare(operator, plain, leaf(2, 3, 4, 5), memory_format=memory_format)


@every_format
@every_axes
def test_the_first_of_equal_maxima_gets_the_gradient(axes, memory_format):
    x = torch.ones(1, 2, 3, 4).contiguous(memory_format=memory_format).requires_grad_()
    shared = SharedMap(x)
    shared.maximum_and_mean(axes)[0].sum().backward()
    first = tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(4))
    expected = torch.zeros(1, 2, 3, 4)
    expected[first] = 1
    torch.testing.assert_close(x.grad, expected)


@every_format
def test_products(memory_format):
    def operator(x, vectors, weights):
        shared = SharedMap(x)
        average, dots = shared.mean_and_dot(vectors)
        sums = shared.dot_positions(weights)
        again = shared.dot_channels(sums)
        return dots, sums, shared.gate(average.sigmoid(), again.sum(1).view(2, 1, 4, 5))

    def plain(x, vectors, weights):
        sums = torch.einsum("bln,bcn->blc", weights, x.flatten(2))
        again = torch.einsum("blc,bcn->bln", sums, x.flatten(2))
        gates = x.mean((2, 3), keepdim=True).sigmoid() * again.sum(1).view(2, 1, 4, 5)
        return torch.einsum("bkc,bcn->bkn", vectors, x.flatten(2)), sums, x * gates

    compare(operator, plain, leaf(2, 3, 4, 5), leaf(2, 2, 3), leaf(2, 3, 20), memory_format=memory_format)


GATES = {"channel": (3, 1, 1), "spatial": (1, 4, 5), "row": (3, 4, 1), "column": (3, 1, 5), "full": (3, 4, 5)}


@every_format
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize(
    "kinds",
    [
        ("channel", "spatial"),
        ("spatial", "channel"),
        ("column", "row"),
        ("full", "channel"),
        ("column", "row", "spatial"),
    ],
)
def test_several_gates(kinds, added, memory_format):
    if len(kinds) > 2 and not added:
        pytest.skip("a product has two gates")
    gates = [leaf(2, *GATES[kind]) for kind in kinds]

    def plain(x, *gates):
        return x * (sum(gates) if added else torch.stack([gate.expand_as(x) for gate in gates]).prod(0))

    compare(
        lambda x, *g: SharedMap(x).gate(*g, added=added), plain, leaf(2, 3, 4, 5), *gates, memory_format=memory_format
    )


@every_format
@pytest.mark.parametrize("kind", GATES)
def test_one_gate(kind, memory_format):
    compare(
        lambda x, gate: SharedMap(x).gate(gate),
        lambda x, gate: x * gate,
        leaf(2, 3, 4, 5),
        leaf(2, *GATES[kind]),
        memory_format=memory_format,
    )


@every_format
def test_reads_of_no_graph_are_the_same(memory_format):
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=memory_format)
    with torch.no_grad():
        shared = SharedMap(x)
        for axes in AXES:
            torch.testing.assert_close(shared.mean(axes), x.mean(axes, keepdim=True))
            torch.testing.assert_close(shared.maximum_and_mean(axes)[0], x.amax(axes, keepdim=True))
        vectors = torch.randn(2, 2, 3)
        average, dots = shared.mean_and_dot(vectors)
        torch.testing.assert_close(average, x.mean((2, 3), keepdim=True))
        torch.testing.assert_close(dots, vectors @ x.flatten(2))


def test_dot_products_stay_in_the_range_of_float16():
    x = torch.full((1, 4, 2, 2), 3e4, dtype=torch.float16)
    dots = SharedMap(x).dot_channels(torch.full((1, 1, 4), 2.0))
    torch.testing.assert_close(dots, torch.full((1, 1, 4), 2.4e5), rtol=1e-3, atol=0)


@every_format
@every_axes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_sums_and_means(axes, dtype, memory_format):
    x = torch.randn(2, 24, 9, 7).to(dtype).contiguous(memory_format=memory_format)
    for operator, plain in ((total, torch.sum), (mean, torch.mean)):
        value, expected = operator(x, axes), plain(x.double(), axes, keepdim=True)
        assert value.dtype == dtype
        error = float((value.double() - expected).abs().max() / expected.abs().max())
        assert error < 2 * torch.finfo(dtype).eps
        torch.testing.assert_close(total_to(x, expected.shape), total(x, axes), rtol=0, atol=0)


@every_format
def test_gram_and_mixing(memory_format):
    def plain(x):
        rows = x.flatten(2)
        return rows @ rows.transpose(1, 2)

    compare(gram, plain, leaf(2, 7, 3, 4), memory_format=memory_format)
    compare(
        lambda x, matrix: mix_channels(matrix, x),
        lambda x, matrix: torch.einsum("bij,bjhw->bihw", matrix, x),
        leaf(2, 5, 3, 4),
        leaf(2, 5, 5),
        memory_format=memory_format,
    )
    x = torch.randn(2, 5, 3, 4).contiguous(memory_format=memory_format)
    assert mix_channels(torch.randn(2, 5, 5), x).is_contiguous(memory_format=memory_format)


@every_format
@pytest.mark.parametrize("identity", [False, True])
def test_energy_gate(identity, memory_format):
    def plain(x, strength):
        square = (x - x.mean((2, 3), keepdim=True)) ** 2
        logits = strength * (square / (4 * (square.sum((2, 3), keepdim=True) / 19 + 0.1)) + 0.5)
        return x * (1 + logits.tanh() if identity else logits.sigmoid())

    compare(
        lambda x, strength: energy_gate(x, strength, 0.1, identity=identity),
        plain,
        leaf(2, 3, 4, 5),
        torch.full((1,), 0.7, dtype=torch.float64).requires_grad_(),
        memory_format=memory_format,
    )


@every_format
def test_shifted_copies(memory_format):
    def operator(y, weights):
        y, summed = sum_copies(y)
        return summed, mix_copies(y, weights)

    def plain(y, weights):
        copies = torch.stack(shifted_copies(y), 1)
        return copies.sum((1, 3, 4)), (copies * weights).sum(1)

    compare(operator, plain, leaf(2, 15, 3, 4), leaf(2, 3, 5, 1, 1), memory_format=memory_format)


@pytest.mark.parametrize(("kept", "block"), [(2**25, 2**21), (0, 32 * 70)])
@pytest.mark.parametrize("depth", [3, 16])
def test_dense_attention(kept, block, depth, monkeypatch):
    monkeypatch.setattr(dense_attention, "KEPT", kept)
    monkeypatch.setattr(dense_attention, "BLOCK", block)
    leaves = [leaf(1, 2, 70, size) for size in (depth, depth, 5)]

    def plain(query, key, value):
        return F.softmax(query @ key.transpose(2, 3), 3) @ value

    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-4)):
        cast = [t.detach().to(dtype).requires_grad_() for t in leaves]
        results = outputs_and_gradients(dense_attention.attend, cast), outputs_and_gradients(plain, cast)
        for value, expected in zip(*results, strict=True):
            torch.testing.assert_close(
                value, expected, rtol=tolerance, atol=tolerance * float(expected.detach().abs().max())
            )
