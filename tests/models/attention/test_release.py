"""Outputs of the widely used releases and of the authors' code, recorded in float64 with these parameters and input."""

import pytest
import torch

from models.attention import create_attention

CHANNELS = 32

# name, options, (y[0, 1, 2, 3], y[1, 20, 4, 0], sum of y, sum of y squared) of the release's own module.
# BAM: with the padding of its dilated convolutions set to the dilation.
RECORDED = [
    ("SE", {}, (-0.353542084519, 0.354908752930, 0.125880745381, 200.133975168859)),
    ("CBAM", {}, (-0.852949710807, 0.821960219073, 0.860438636514, 1241.269308773337)),
    ("BAM", {}, (-1.101113212143, 1.078334478700, 0.665655996511, 2106.275998854442)),
    ("ECA", {"kernel_size": 3}, (-0.441377241506, 0.435332414506, 1.710547257790, 291.869541761351)),
    ("ShuffleAttention", {"groups": 4}, (0.410759325312, -0.566858642160, -9.001502958957, 217.427548810585)),
    ("ParallelPolarizedSelfAttention", {}, (-0.779633631373, 0.782163525502, 0.229338902940, 770.395025617420)),
    ("SequentialPolarizedSelfAttention", {}, (-0.212758662563, 0.212854847948, 0.012376062845, 46.891520458482)),
    ("SpatialGroupEnhance", {}, (-0.305485717555, 0.220460104960, -0.145140074609, 208.045711253053)),
    ("CoordAtt", {}, (-0.115052357131, 0.112223031340, 0.241536812733, 45.718349436808)),
    ("PAM", {}, (-0.613225201106, 0.892565807728, 27.740399604059, 835.420639732939)),
    ("CAM", {}, (-0.394147850613, 0.407147146029, 0.176144607212, 284.338662893139)),
    ("CrissCrossAttention", {}, (-0.626611729126, 0.863726801292, 27.738093867190, 835.296399054926)),
    ("CBAM", {"variant": "authors"}, (-0.073667723644, 0.129813307484, 0.504978223748, 27.265475025785)),
    ("BAM", {"variant": "authors"}, (-1.070161993949, 1.088426449432, -0.133907984272, 1804.671316486529)),
    (
        "ParallelPolarizedSelfAttention",
        {"variant": "authors"},
        (-0.714500041967, 0.719419395416, 0.488982802897, 816.542553261232),
    ),
    (
        "SequentialPolarizedSelfAttention",
        {"variant": "authors"},
        (-0.219577638233, 0.213986861512, 0.080552407493, 53.348052440415),
    ),
]


@pytest.mark.parametrize(("name", "options", "recorded"), RECORDED)
def test_output_equals_the_release(name, options, recorded):
    module = create_attention(name, CHANNELS, **options).double().eval()
    state = module.state_dict()
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
