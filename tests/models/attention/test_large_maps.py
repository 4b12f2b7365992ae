"""The further modules against their references on the maps that the tests of each leave out for their time."""

import pytest

from models.attention import create_attention
from tests.models.attention import (
    test_bi_level_routing,
    test_caa,
    test_cot,
    test_cpca,
    test_deformable,
    test_double_attention,
    test_ela,
    test_ema,
    test_global_context,
    test_lsk,
    test_lska,
    test_mhsa,
    test_mlca,
    test_nam,
    test_parnet,
    test_s2,
    test_selective_kernel,
    test_simam,
    test_triplet,
)
from tests.support.reference import check

TOLERANCES = (3e-5, 2e-4)  # float32 sums over 6400 positions

# name, options, channels, reference
CASES = [
    ("BiLevelRoutingAttention", {}, 8, test_bi_level_routing.reference_with(7, 8, 4)),
    ("CAA", {}, 2, test_caa.reference),
    ("CoTAttention", {}, 4, test_cot.reference_with(3)),
    ("CPCA", {}, 2, test_cpca.reference),
    ("DAttention", {}, 8, test_deformable.reference_with(8, 4)),
    ("DoubleAttention", {"c_m": 6, "c_n": 7}, 3, test_double_attention.reference),
    ("ELA", {}, 16, test_ela.reference_with(16)),
    ("EMA", {}, 8, test_ema.reference_with(8)),
    ("GlobalContext", {"ratio": 0.5}, 8, test_global_context.reference),
    ("LSKBlock", {}, 2, test_lsk.reference),
    ("LSKA", {}, 2, test_lska.reference_with(2)),
    ("MHSA", {}, 4, test_mhsa.reference_with(4)),
    ("MLCA", {}, 3, test_mlca.reference_with(5, 0.5)),
    ("NAM", {}, 4, test_nam.reference_with(detach=True)),
    ("ParNetAttention", {}, 2, test_parnet.reference),
    ("S2Attention", {}, 4, test_s2.reference),
    ("SKAttention", {}, 2, test_selective_kernel.reference_with((1, 3, 5, 7), 1)),
    ("SimAM", {"start": "identity"}, 3, test_simam.reference_with(1e-4, factor=2)),
    ("TripletAttention", {}, 4, test_triplet.reference),
]


# In place of the above at 80 x 80, where the logits of each head take 0.3 GB in float64.
LARGEST = {
    "DAttention": ({"heads": 1, "groups": 2}, 4, test_deformable.reference_with(1, 2)),
    "MHSA": ({"heads": 1}, 2, test_mhsa.reference_with(1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("side", [20, 80])
@pytest.mark.parametrize(("name", "options", "channels", "reference"), CASES, ids=[case[0] for case in CASES])
def test_reference(name, options, channels, reference, side):
    if side == 80:
        options, channels, reference = LARGEST.get(name, (options, channels, reference))
    module = create_attention(name, channels, **options)
    check(module, reference, (1, channels, side, side), tolerances=TOLERANCES)
