import pytest
import torch

from models.attention import ParallelPolarizedSelfAttention, SequentialPolarizedSelfAttention
from tests.support.reference import SHAPES, check, sigmoid, softmax


def project(p, name, x):
    """A 1x1 convolution of a map, as the paper writes it; nothing is folded here."""
    z = torch.einsum("oc,bchw->bohw", p[f"{name}.weight"][:, :, 0, 0], x)
    return z + p[f"{name}.bias"].view(1, -1, 1, 1) if f"{name}.bias" in p else z


def layer_norm(z, weight, bias):
    mean = z.sum(1, keepdim=True) / z.shape[1]
    variance = ((z - mean) ** 2).sum(1, keepdim=True) / z.shape[1]
    return (z - mean) / (variance + 1e-5) ** 0.5 * weight + bias


def channel_gate(x, p):
    values, logits = project(p, "ch_wv", x), project(p, "ch_wq", x)
    context = torch.einsum("bcn,bn->bc", values.flatten(2), softmax(logits.flatten(1), 1))
    z = project(p, "ch_wz", context[:, :, None, None])[:, :, 0, 0]
    return sigmoid(layer_norm(z, p["ln.weight"], p["ln.bias"]))[:, :, None, None]


def spatial_gate(x, p):
    values, queries = project(p, "sp_wv", x), project(p, "sp_wq", x)
    query = softmax(queries.sum((2, 3)) / (x.shape[2] * x.shape[3]), 1)
    return sigmoid(torch.einsum("bc,bchw->bhw", query, values))[:, None]


def parallel(x, p, training):
    return x * channel_gate(x, p) + x * spatial_gate(x, p)


def sequential(x, p, training):
    y = x * channel_gate(x, p)
    return y * spatial_gate(y, p)


def authors_context(x, p):
    weights = softmax(project(p, "conv_q_right", x).flatten(1), 1)
    return torch.einsum("bcn,bn->bc", project(p, "conv_v_right", x).flatten(2), weights)


def authors_parallel(x, p, training):
    batch, _, height, width = x.shape
    channel = sigmoid(project(p, "conv_up", authors_context(x, p)[:, :, None, None]))
    query = project(p, "conv_q_left", x).sum((2, 3)) / (height * width)
    logits = torch.einsum("bc,bcn->bn", query, project(p, "conv_v_left", x).flatten(2))
    spatial = sigmoid(softmax(logits, 1)).view(batch, 1, height, width)
    return x * channel + x * spatial


def authors_sequential(x, p, training):
    batch, _, height, width = x.shape
    hidden = torch.einsum("oc,bc->bo", p["conv_up.0.weight"][:, :, 0, 0], authors_context(x, p)) + p["conv_up.0.bias"]
    hidden = layer_norm(hidden, p["conv_up.1.weight"].flatten(), p["conv_up.1.bias"].flatten()).clamp(min=0)
    z = torch.einsum("oc,bc->bo", p["conv_up.3.weight"][:, :, 0, 0], hidden) + p["conv_up.3.bias"]
    y = x * sigmoid(z)[:, :, None, None]
    query = project(p, "conv_q_left", y).sum((2, 3)) / (height * width)
    values = softmax(project(p, "conv_v_left", y).flatten(2), 2)
    return y * sigmoid(torch.einsum("bc,bcn->bn", query, values)).view(batch, 1, height, width)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("cls", "reference"), [(ParallelPolarizedSelfAttention, parallel), (SequentialPolarizedSelfAttention, sequential)]
)
def test_reference(cls, reference, shape):
    check(cls(shape[1]), reference, shape, tolerances=(2e-6, 2e-5))


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 16, 7, 7), (1, 255, 13, 21), (2, 33, 20, 20)])
@pytest.mark.parametrize(
    ("cls", "reference"),
    [(ParallelPolarizedSelfAttention, authors_parallel), (SequentialPolarizedSelfAttention, authors_sequential)],
)
def test_reference_of_the_authors(cls, reference, shape):
    check(cls(shape[1], variant="authors"), reference, shape, tolerances=(2e-6, 2e-5))


@pytest.mark.parametrize("cls", [ParallelPolarizedSelfAttention, SequentialPolarizedSelfAttention])
def test_names_and_shapes_of_the_release(cls):
    assert {name: tuple(value.shape) for name, value in cls(64).state_dict().items()} == {
        "ch_wv.weight": (32, 64, 1, 1),
        "ch_wv.bias": (32,),
        "ch_wq.weight": (1, 64, 1, 1),
        "ch_wq.bias": (1,),
        "ch_wz.weight": (64, 32, 1, 1),
        "ch_wz.bias": (64,),
        "ln.weight": (64,),
        "ln.bias": (64,),
        "sp_wv.weight": (32, 64, 1, 1),
        "sp_wv.bias": (32,),
        "sp_wq.weight": (32, 64, 1, 1),
        "sp_wq.bias": (32,),
    }
    assert sum(value.numel() for value in cls(512).parameters()) == 527105


def test_order_and_size_of_the_authors_tensors():
    names = list(ParallelPolarizedSelfAttention(64, variant="authors").state_dict())
    order = ["conv_q_right", "conv_v_right", "conv_up", "conv_q_left", "conv_v_left"]
    assert names == [f"{name}.weight" for name in order]
    counts = [
        sum(value.numel() for value in cls(512, variant="authors").parameters())
        for cls in (ParallelPolarizedSelfAttention, SequentialPolarizedSelfAttention)
    ]
    assert counts == [524800, 443584]


@pytest.mark.parametrize("cls", [ParallelPolarizedSelfAttention, SequentialPolarizedSelfAttention])
def test_identity_start_of_the_authors_variant(cls):
    module = cls(16, variant="authors", start="identity").eval()
    x = torch.randn(2, 16, 13, 21)
    torch.testing.assert_close(module(x), x, rtol=0, atol=0)


def test_one_channel_works():
    assert ParallelPolarizedSelfAttention(1)(torch.randn(2, 1, 3, 3)).shape == (2, 1, 3, 3)
