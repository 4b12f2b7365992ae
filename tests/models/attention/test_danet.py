import pytest
import torch

from models.attention import CAM, PAM, DANet
from models.attention.danet import _AttendChannels
from models.attention.parts import dense_attention
from tests.support.reference import check, softmax

SHAPES = ((1, 8, 1, 1), (2, 16, 7, 7), (1, 255, 13, 21), (2, 24, 20, 20), (2, 6, 1, 7))
# Weights are exponentials of float32 sums over many products, so a rounding of the sum is one of the weight.
ENERGIES = (2e-5, 2e-4)


def project(p, name, x):
    return torch.einsum("oc,bcn->bon", p[f"{name}.weight"][:, :, 0, 0], x) + p[f"{name}.bias"].view(1, -1, 1)


def pam(x, p, training, prefix=""):
    flat = x.flatten(2)
    query, key, value = (project(p, f"{prefix}{name}_conv", flat) for name in ("query", "key", "value"))
    weights = softmax(torch.einsum("bci,bcj->bij", query, key), 2)
    attended = torch.einsum("bij,bcj->bci", weights, value)
    return p[f"{prefix}gamma"] * attended.view(x.shape) + x


def cam(x, p, training, prefix=""):
    flat = x.flatten(2)
    energy = torch.einsum("bin,bjn->bij", flat, flat)
    weights = softmax(energy.max(2, keepdim=True).values - energy, 2)
    return p[f"{prefix}gamma"] * torch.einsum("bij,bjn->bin", weights, flat).view(x.shape) + x


def danet(x, p, training):
    return pam(x, p, training, "pam.") + cam(x, p, training, "cam.")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("cls", "reference"), [(PAM, pam), (CAM, cam), (DANet, danet)])
def test_reference(cls, reference, shape):
    check(cls(shape[1]), reference, shape, tolerances=ENERGIES)


@pytest.mark.parametrize(("cls", "reference"), [(PAM, pam), (CAM, cam), (DANet, danet)])
def test_reference_on_a_large_map(cls, reference):
    check(cls(8), reference, (1, 8, 40, 40), tolerances=ENERGIES)


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "reference"), [(PAM, pam), (CAM, cam), (DANet, danet)])
def test_reference_on_the_largest_map(cls, reference):
    check(cls(8), reference, (1, 8, 80, 80), tolerances=ENERGIES)


def test_reduction_sets_the_width_of_queries():
    assert PAM(64, reduction=4).query_conv.out_channels == 16
    check(PAM(16, reduction=2), pam, (2, 16, 5, 7), tolerances=ENERGIES)


def test_names_and_shapes_of_the_release():
    shapes = {
        "query_conv.weight": (8, 64, 1, 1),
        "query_conv.bias": (8,),
        "key_conv.weight": (8, 64, 1, 1),
        "key_conv.bias": (8,),
        "value_conv.weight": (64, 64, 1, 1),
        "value_conv.bias": (64,),
        "gamma": (1,),
    }
    assert {name: tuple(value.shape) for name, value in PAM(64).state_dict().items()} == shapes
    assert {name: tuple(value.shape) for name, value in CAM(64).state_dict().items()} == {"gamma": (1,)}
    prefixed = {f"pam.{name}": shape for name, shape in shapes.items()} | {"cam.gamma": (1,)}
    assert {name: tuple(value.shape) for name, value in DANet(64).state_dict().items()} == prefixed


def test_starts():
    x = torch.randn(2, 16, 5, 7)
    for module in (PAM(16), CAM(16), DANet(16, start="identity")):
        torch.testing.assert_close(module.eval()(x), x, rtol=0, atol=0)
    torch.testing.assert_close(DANet(16).eval()(x), 2 * x, rtol=0, atol=0)


def test_no_weight_is_a_denormal_number():
    module = CAM(3)
    x = torch.tensor([10.0, 3.0, -8.0]).view(1, 3, 1, 1)
    with torch.no_grad():
        weights = _AttendChannels.apply(x, module.gamma)[1]
    energy = x.flatten(1).T @ x.flatten(1)
    torch.testing.assert_close(weights[0], (-energy).softmax(1), rtol=1e-6, atol=1e-25)
    assert float(weights.min()) > torch.finfo(torch.float32).tiny
    assert float((-energy).softmax(1).min()) < torch.finfo(torch.float32).tiny


def test_blocks_of_queries_give_the_same(monkeypatch):
    query, key, value = (torch.randn(2, 2, 70, size).double() for size in (3, 3, 8))
    results = []
    for kept, block in ((2**25, 2**21), (0, 32 * 70)):
        monkeypatch.setattr(dense_attention, "KEPT", kept)
        monkeypatch.setattr(dense_attention, "BLOCK", block)
        leaves = [t.clone().requires_grad_() for t in (query, key, value)]
        output = dense_attention.attend(*leaves)
        results.append((output, *torch.autograd.grad(output.square().sum(), leaves)))
    for whole, blocked in zip(*results, strict=True):
        torch.testing.assert_close(blocked, whole, rtol=1e-12, atol=1e-12)


def test_affinity_is_the_row_of_the_query_position():
    from models.attention import collect_gates

    module = PAM(16).eval()
    x = torch.randn(1, 16, 3, 4)
    with collect_gates(module, query=(0.4, 0.9)) as gates:
        module(x)
    query, key = module.query_conv(x).flatten(2), module.key_conv(x).flatten(2)
    row = (query[0, :, 1 * 4 + 3] @ key[0]).softmax(0).view(1, 1, 3, 4)
    torch.testing.assert_close(gates[""]["affinity"], row.detach())
