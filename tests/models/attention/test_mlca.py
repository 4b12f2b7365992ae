import math

import pytest
import torch
import torch.nn.functional as F

from models.attention import MLCA
from models.attention.mlca import _averages
from tests.support.pieces import count
from tests.support.reference import check, sigmoid


def window_means(x, rows, columns):
    """Adaptive average pooling, window by window."""
    height, width = x.shape[2:]
    out = []
    for i in range(rows):
        for j in range(columns):
            top, bottom = i * height // rows, math.ceil((i + 1) * height / rows)
            left, right = j * width // columns, math.ceil((j + 1) * width / columns)
            out.append(x[:, :, top:bottom, left:right].mean((2, 3)))
    return torch.stack(out, 2).unflatten(2, (rows, columns))


def slide(line, weight):
    """One-dimensional convolution of (B, L) with zeros outside."""
    size = len(weight)
    padded = torch.cat([line.new_zeros(len(line), size // 2), line, line.new_zeros(len(line), size // 2)], 1)
    return sum(weight[i] * padded[:, i : i + line.shape[1]] for i in range(size))


def reference_with(size, share, seams=True):
    def reference(x, p, training):
        batch, channels, height, width = x.shape
        places = window_means(x, size, size)
        line = torch.stack([places[:, :, i, j] for i in range(size) for j in range(size)], 1)  # (B, SS, C)
        overall = slide(line.mean(1), p["conv.weight"].flatten())
        weight = p["conv_local.weight"].flatten()
        local = slide(line.flatten(1), weight) if seams else slide(line.flatten(0, 1), weight)
        local = local.view(batch, size, size, channels).permute(0, 3, 1, 2)
        gate = (1 - share) * sigmoid(overall)[:, :, None, None] + share * sigmoid(local)
        return x * window_means(gate, height, width)

    return reference


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 5, 7, 7), (1, 9, 13, 21), (2, 130, 4, 3), (1, 1, 20, 20)])
def test_reference(shape):
    check(MLCA(shape[1]), reference_with(5, 0.5), shape, tolerances=(2e-6, 3e-5))


@pytest.mark.parametrize("seams", [True, False])
def test_reference_with_options(seams):
    module = MLCA(12, local_size=3, local_weight=0.2, gamma=1, b=2, seams=seams)
    assert module.conv.kernel_size == (5,)
    check(module, reference_with(3, 0.2, seams), (2, 12, 8, 5), tolerances=(2e-6, 3e-5))


def test_pooling_equals_adaptive_pooling():
    for inputs in (1, 3, 5, 7, 13, 20):
        for outputs in (1, 2, 5, 8):
            line = torch.randn(1, inputs, dtype=torch.float64)
            expected = F.adaptive_avg_pool1d(line, outputs)
            torch.testing.assert_close(line @ _averages(inputs, outputs, line).T, expected)


def test_count_and_limits():
    assert count(MLCA(512)) == 10
    with pytest.raises(ValueError, match=r"Expected `local_weight` to be a number .* but got 2"):
        MLCA(8, local_weight=2)
