"""Every module gives what its plain published form gives, and the same gradients; what the benchmarks time is fair."""

import pytest
import torch

from benchmarks.published import OPPONENTS
from models.attention import create_attention
from tests.support.reference import check, published, randomise

# The plain forms of these are no reference in float64: SimAM's leaves out the number that may be learned, and torch's
# hard sigmoid, in EffectiveSE's, has a float32 gradient.
OUTPUT_ONLY = ("EffectiveSE", "SimAM")


@pytest.mark.parametrize("name", sorted(set(OPPONENTS) - set(OUTPUT_ONLY)))
@pytest.mark.parametrize("training", [False, True])
def test_the_published_form_gives_the_same(name, training):
    # BiLevelRoutingAttention's release differs where the map does not divide into windows.
    size = (7, 14) if name == "BiLevelRoutingAttention" else (8, 11)
    module = create_attention(name, 32)
    check(module, published(name, 32), (3, 32, *size), training=training, tolerances=(2e-5, 5e-4))


@pytest.mark.parametrize("name", OUTPUT_ONLY)
def test_the_published_form_gives_the_same_output(name):
    module, plain = create_attention(name, 32).double(), OPPONENTS[name](32).double()
    plain.load_state_dict((module if name == "SimAM" else randomise(module)).state_dict())
    x = torch.randn(2, 32, 8, 11, dtype=torch.float64)
    torch.testing.assert_close(plain(x), module(x), rtol=1e-9, atol=1e-9)
