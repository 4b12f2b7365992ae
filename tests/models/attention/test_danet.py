import pytest
import torch

from models.attention import CAM, PAM, DANet, attention_maps
from tests.support.reference import check, published

SHAPES = ((1, 8, 1, 1), (2, 16, 7, 7), (1, 255, 13, 21), (2, 24, 20, 20), (2, 6, 1, 7))
# Weights are exponentials of float32 sums over many products, so a rounding of the sum is one of the weight.
ENERGIES = (2e-5, 2e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cls", [PAM, CAM, DANet])
def test_reference(cls, shape):
    check(cls(shape[1]), published(cls.__name__, shape[1]), shape, tolerances=ENERGIES)


@pytest.mark.parametrize("cls", [PAM, CAM, DANet])
def test_reference_on_a_large_map(cls):
    check(cls(8), published(cls.__name__, 8), (1, 8, 40, 40), tolerances=ENERGIES)


@pytest.mark.slow
@pytest.mark.parametrize("cls", [PAM, CAM, DANet])
def test_reference_on_the_largest_map(cls):
    check(cls(8), published(cls.__name__, 8), (1, 8, 80, 80), tolerances=ENERGIES)


def test_reduction_sets_the_width_of_queries():
    assert PAM(64, reduction=4).query_conv.out_channels == 16
    check(PAM(16, reduction=2), published("PAM", 16, 2), (2, 16, 5, 7), tolerances=ENERGIES)


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
    x = torch.tensor([10.0, 3.0, -8.0]).view(1, 3, 1, 1)
    received = attention_maps(CAM(3), x)[""]["channel"].flatten()
    energy = x.flatten(1).T @ x.flatten(1)
    assert float((-energy).softmax(1).min()) < torch.finfo(torch.float32).tiny
    torch.testing.assert_close(received, (-energy).softmax(1).mean(0), rtol=1e-6, atol=1e-25)
    assert float(received.min()) > torch.finfo(torch.float32).tiny


def test_affinity_is_the_row_of_the_query_position():
    from models.attention import collect_gates

    module = PAM(16).eval()
    x = torch.randn(1, 16, 3, 4)
    with collect_gates(module, query=(0.4, 0.9)) as gates:
        module(x)
    query, key = module.query_conv(x).flatten(2), module.key_conv(x).flatten(2)
    row = (query[0, :, 1 * 4 + 3] @ key[0]).softmax(0).view(1, 1, 3, 4)
    torch.testing.assert_close(gates[""]["affinity"], row.detach())
