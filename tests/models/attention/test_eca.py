import pytest
import torch

from models.attention import ECA
from tests.support.reference import SHAPES, check, sigmoid


def reference(x, p, training):
    channels = x.shape[1]
    mean = x.sum((2, 3)) / (x.shape[2] * x.shape[3])
    weight = p["conv.weight"][0, 0]
    half = len(weight) // 2
    columns = []
    for c in range(channels):
        z = p["conv.bias"][0].expand(len(x)) if "conv.bias" in p else x.new_zeros(len(x))
        for i in range(len(weight)):
            neighbour = c + i - half
            if 0 <= neighbour < channels:
                z = z + weight[i] * mean[:, neighbour]
        columns.append(z)
    return torch.einsum("bchw,bc->bchw", x, sigmoid(torch.stack(columns, 1)))


@pytest.mark.parametrize("shape", SHAPES)
def test_reference(shape):
    check(ECA(shape[1]), reference, shape)


@pytest.mark.parametrize("options", [{"kernel_size": 5}, {"bias": False}, {"variant": "authors", "kernel_size": 1}])
def test_reference_of_the_options(options):
    check(ECA(16, **options), reference, (2, 16, 7, 7))


def test_names_and_shapes_of_the_release_and_of_the_authors():
    def shapes(**options):
        return {name: tuple(value.shape) for name, value in ECA(64, **options).state_dict().items()}

    assert shapes() == {"conv.weight": (1, 1, 3), "conv.bias": (1,)}
    assert shapes(variant="authors", kernel_size=5) == {"conv.weight": (1, 1, 5)}
    assert shapes(variant="authors", bias=True) == shapes()


@pytest.mark.parametrize(
    ("channels", "size"), [(1, 1), (7, 1), (8, 3), (127, 3), (128, 5), (512, 5), (2047, 5), (2048, 7)]
)
def test_adaptive_kernel_size_of_the_paper(channels, size):
    assert ECA(channels).conv.kernel_size == (size,)


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="Expected `kernel_size` to be odd but got 4; try 3 or 5"):
        ECA(16, kernel_size=4)
