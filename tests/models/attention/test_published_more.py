import pytest
import torch

from benchmarks.published.mixed_published import PUBLISHED_MORE
from models.attention import create_attention
from tests.support.reference import randomise


@pytest.mark.parametrize("name", sorted(PUBLISHED_MORE))
@pytest.mark.parametrize("training", [False, True])
def test_the_opponent_gives_the_same(name, training):
    module = create_attention(name, 32).double()
    if name != "SimAM":
        randomise(module)
    opponent = PUBLISHED_MORE[name](32).double()
    opponent.load_state_dict(module.state_dict())
    # BiLevelRoutingAttention's release differs where the map does not divide into windows.
    size = (7, 14) if name == "BiLevelRoutingAttention" else (8, 11)
    x = torch.randn(2, 32, *size, dtype=torch.float64)
    torch.testing.assert_close(opponent.train(training)(x), module.train(training)(x), rtol=1e-9, atol=1e-9)
