import pytest
import torch

from models.attention import ELA
from tests.support.pieces import count, grouped, normalise
from tests.support.reference import check, sigmoid


def gate(line, p, conv, norm, groups, conv_groups):
    weight = p[f"{conv}.weight"].unsqueeze(2)  # as a kernel of one row
    z = grouped(line.unsqueeze(2), weight, p.get(f"{conv}.bias"), conv_groups).squeeze(2)
    z = normalise(z.unflatten(1, (groups, -1)), (2, 3), 1e-5).flatten(1, 2)
    return sigmoid(z * p[f"{norm}.weight"].view(-1, 1) + p[f"{norm}.bias"].view(-1, 1))


def reference_with(groups):
    def reference(x, p, training):
        row, column = x.mean(3), x.mean(2)
        if "conv1x1.0.weight" in p:
            row, column = (gate(line, p, "conv1x1.0", "conv1x1.1", groups, 1) for line in (row, column))
        else:
            row = gate(row, p, "conv_h", "norm_h", groups, x.shape[1])
            column = gate(column, p, "conv_w", "norm_w", groups, x.shape[1])
        return torch.einsum("bchw,bch,bcw->bchw", x, row, column)

    return reference


@pytest.mark.parametrize("variant", ["release", "authors"])
@pytest.mark.parametrize("shape", [(1, 16, 1, 1), (2, 32, 7, 7), (1, 48, 13, 21), (2, 16, 20, 20), (1, 16, 1, 5)])
def test_reference(shape, variant):
    check(ELA(shape[1], variant=variant), reference_with(16), shape, tolerances=(2e-5, 5e-5))


def test_reference_with_options():
    check(ELA(6, groups=3, kernel_size=5), reference_with(3), (2, 6, 9, 4), tolerances=(5e-6, 5e-5))
    module = ELA(6, groups=2, kernel_size=3, variant="authors")
    check(module, reference_with(2), (2, 6, 9, 4), tolerances=(5e-6, 5e-5))


def test_both_widths_in_use():
    assert count(ELA(512)) == 263680
    assert count(ELA(512, variant="authors")) == 9216
    assert ELA(64, variant="authors").conv_h.kernel_size == (7,)


def test_a_refusal_names_channels_that_work():
    with pytest.raises(ValueError, match="multiple of groups = 16 but got 100; the nearest that works is 96"):
        ELA(100)
