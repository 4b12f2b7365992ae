"""As `test_release.py`, for the further modules: outputs of the widely used releases, recorded in float64.

Not recorded: DoubleAttention and S2Attention, whose releases are broken; NAM, whose release is its reference.
"""

import pytest
import torch

from models.attention import create_attention

CHANNELS = 32

# name, options, (y[0, 1, 2, 3], y[1, 20, 4, 0], sum of y, sum of y squared) of the release's own module.
RECORDED = [
    ("SimAM", {}, (-0.495385087371, 0.465041157614, 0.225865642976, 393.968127128373)),
    ("EMA", {}, (-0.410128329575, 0.199730389576, 5.737769378553, 133.553841897854)),
    ("GlobalContext", {}, (-0.302076854658, 0.346603069047, 0.437723887122, 221.786012928082)),
    ("GlobalContext", {"fusion": "both"}, (-0.605886180717, 0.239708746648, 4.092471458267, 959.798959747931)),
    ("TripletAttention", {}, (-0.429012286190, 0.364407408595, 6.136431501837, 257.043891624818)),
    ("EffectiveSE", {}, (-0.408875144628, 0.392143475969, 0.150754678268, 206.700733229118)),
    ("SKAttention", {}, (0.266077309312, 0.870869500278, 850.250598956783, 1613.172410715093)),
    ("LSKBlock", {}, (-1.006790026102, 0.895208043847, 4.798870959028, 740.606311357892)),
    ("LSKA", {}, (-0.289687992823, 1.900159492550, -3.728922272852, 4661.011891344901)),
    ("LSKA", {"kernel_size": 23}, (-2.321568787036, -0.192163161613, 6.772048880954, 7476.551762287145)),
    ("MHSA", {}, (-0.226621950641, 0.069024249195, 9.229535687780, 205.339769189456)),
    (
        "MHSA",
        {"width": 5, "height": 5, "pos_emb": True},
        (0.514969764432, 0.436146599757, 60.718137313012, 201.275051495225),
    ),
    ("ELA", {}, (-0.054973515761, 0.072933580212, -1.344404016759, 50.955244234998)),
    ("MLCA", {}, (-0.312025086293, 0.344474364474, 26.636024725851, 201.871191072286)),
    ("CPCA", {}, (0.842736403973, 3.347929016399, 13.362546834924, 5862.410413100571)),
    ("CAA", {}, (-0.309240619424, 0.359366496758, 0.612508274293, 322.630571490814)),
    ("CoTAttention", {}, (0.095061851137, -0.021901003489, 358.107279218690, 226.332169725173)),
    ("ParNetAttention", {}, (-0.155788529372, -0.147458423256, 681.567691170275, 1131.476895695626)),
    ("BiLevelRoutingAttention", {"n_win": 5}, (0.597417630680, 3.061152411240, -6.574145386995, 3343.439232661016)),
    ("DAttention", {}, (4.124960339453, -4.497062293589, 46.732082422161, 21526.599870287599)),
]


@pytest.mark.parametrize(("name", "options", "recorded"), RECORDED)
def test_output_equals_the_release(name, options, recorded):
    module = create_attention(name, CHANNELS, **options).double().eval()
    state = {key: value for key, value in module.state_dict().items() if key != "strength"}  # not the release's
    for i, key in enumerate(sorted(state)):
        if state[key].is_floating_point():
            wave = torch.sin(torch.arange(state[key].numel(), dtype=torch.float64) * 0.7 + i + 1) * 0.5
            state[key] = (wave.abs() + 0.5 if key.endswith("running_var") else wave).view(state[key].shape)
    module.load_state_dict(state, strict=True)
    x = torch.sin(torch.arange(2 * CHANNELS * 5 * 5, dtype=torch.float64) * 0.31).view(2, CHANNELS, 5, 5)
    with torch.no_grad():
        y = module(x)
    picked = torch.stack([y[0, 1, 2, 3], y[1, 20, 4, 0], y.sum(), y.square().sum()])
    torch.testing.assert_close(picked, torch.tensor(recorded, dtype=torch.float64), rtol=1e-9, atol=1e-9)
