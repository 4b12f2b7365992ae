import pytest
import torch

from models.attention import NAM
from tests.support.pieces import count
from tests.support.reference import SHAPES, batch_norm, check, sigmoid


def reference_with(detach):
    def reference(x, p, training):
        weight = p["bn2.weight"].detach() if detach else p["bn2.weight"]
        share = torch.stack([abs(w) / sum(abs(weight)) for w in weight])
        return x * sigmoid(share.view(1, -1, 1, 1) * batch_norm(x, p, "bn2", training))

    return reference


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES[:2], (1, 33, 13, 21), *SHAPES[3:4], *SHAPES[6:]])
@pytest.mark.parametrize("detach", [True, False])
def test_reference(shape, training, detach):
    check(NAM(shape[1], detach=detach), reference_with(detach), shape, training=training, tolerances=(2e-6, 3e-5))


def test_weights_that_are_all_zero_count_as_equal():
    module = NAM(4).eval()
    with torch.no_grad():
        module.bn2.weight.zero_()
        module.bn2.bias.fill_(2.0)
    x = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(module(x), x * torch.tensor(2.0 / 4).sigmoid())


def test_count_and_names_of_the_release():
    assert count(NAM(512)) == 1024
    assert set(NAM(8).state_dict()) == {
        f"bn2.{key}" for key in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }
