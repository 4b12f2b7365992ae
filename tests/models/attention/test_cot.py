import pytest
import torch

from models.attention import CoTAttention
from tests.support.pieces import channels, count, grouped
from tests.support.reference import batch_norm, check, softmax


def reference_with(kernel):
    def reference(x, p, training):
        key = batch_norm(grouped(x, p["key_embed.0.weight"], None, 4), p, "key_embed.1", training).clamp(min=0)
        value = batch_norm(channels(p["value_embed.0.weight"], None, x), p, "value_embed.1", training)
        hidden = channels(p["attention_embed.0.weight"], None, torch.cat([key, x], 1))
        hidden = batch_norm(hidden, p, "attention_embed.1", training).clamp(min=0)
        logits = channels(p["attention_embed.3.weight"], p["attention_embed.3.bias"], hidden)
        logits = logits.unflatten(1, (x.shape[1], kernel**2)).mean(2)  # the whole map of the release
        share = softmax(logits.flatten(2), 2).view(x.shape)
        return key + share * value

    return reference


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 4, 7, 7), (1, 12, 13, 21), (2, 4, 20, 20)])
def test_reference(shape, training):
    check(CoTAttention(shape[1]), reference_with(3), shape, training=training, tolerances=(3e-6, 2e-4))


def test_reference_with_another_kernel():
    check(CoTAttention(8, kernel_size=5), reference_with(5), (2, 8, 6, 5), tolerances=(3e-6, 1e-4))


def test_count_and_names_of_the_release():
    module = CoTAttention(512)
    assert count(module) == 2300928
    assert module.attention_embed[3].weight.shape == (9 * 512, 256, 1, 1)
    assert {"key_embed.1.running_var", "value_embed.0.weight", "attention_embed.3.bias"} <= set(module.state_dict())


def test_a_refusal_names_channels_that_work():
    with pytest.raises(ValueError, match="multiple of groups = 4 but got 6; the nearest that works is 8"):
        CoTAttention(6)
