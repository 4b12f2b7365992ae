import pytest
import torch

from benchmarks.published.mixed_published import PUBLISHED_MORE
from models.attention import MHSA
from tests.support.pieces import channels, count, positions
from tests.support.reference import check, randomise, softmax


def embedding(p, height, width):
    """Position by position: the two embeddings read at the position, interpolated along each axis."""

    def read(line, at, length):
        place = at * (line.shape[2] - 1) / max(length - 1, 1)
        low = min(int(place), line.shape[2] - 1)
        high = min(low + 1, line.shape[2] - 1)
        return line[:, :, low] * (1 - (place - low)) + line[:, :, high] * (place - low)

    rows, columns = p["rel_w_weight"][0, ..., 0], p["rel_h_weight"][0, :, :, 0]
    return torch.stack(
        [read(rows, i, height) + read(columns, j, width) for i in range(height) for j in range(width)], 1
    )  # (heads, HW, d)


def reference_with(heads, position=None):
    def reference(x, p, training):
        q, k, v = (
            positions(channels(p[f"{n}.weight"], p[f"{n}.bias"], x)).unflatten(2, (heads, -1))
            for n in ("query", "key", "value")
        )
        logits = torch.einsum("bihd,bjhd->bhij", q, k)
        if position:
            r = embedding(p, *x.shape[2:])
            equation = {"release": "hid,bjhd->bhij", "authors": "hjd,bihd->bhij"}[position]
            logits = logits + torch.einsum(equation, r, q)
        out = torch.einsum("bhij,bjhd->bihd", softmax(logits, 3), v).flatten(2)
        return out.transpose(1, 2).unflatten(2, x.shape[2:])

    return reference


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 12, 7, 7), (1, 8, 13, 21), (1, 4, 20, 20), (2, 4, 1, 6)])
def test_reference(shape):
    check(MHSA(shape[1]), reference_with(4), shape, tolerances=(5e-6, 5e-5))


@pytest.mark.parametrize("variant", ["release", "authors"])
@pytest.mark.parametrize("size", [(7, 5), (5, 7), (3, 11), (1, 1), (9, 1)])
def test_reference_with_position_embedding(variant, size):
    module = MHSA(6, width=7, height=5, heads=3, pos_emb=True, variant=variant)
    check(module, reference_with(3, variant), (2, 6, *size), tolerances=(5e-6, 5e-5))


def test_an_embedding_of_one_entry_is_the_same_everywhere():
    module = randomise(MHSA(4, width=1, height=1, pos_emb=True, variant="authors")).eval()
    plain = MHSA(4).eval()
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if not k.startswith("rel_")})
    x = torch.randn(1, 4, 5, 6)
    torch.testing.assert_close(module(x), plain(x))


def test_counts_and_names_of_the_release():
    assert count(MHSA(512)) == 787968
    module = MHSA(512, width=20, height=20, pos_emb=True)
    assert count(module) == 787968 + 20480
    assert module.rel_h_weight.shape == (1, 4, 128, 1, 20)
    assert module.rel_w_weight.shape == (1, 4, 128, 20, 1)


def test_logits_have_room_in_float16():
    x = torch.randn(1, 16, 6, 6) * 1e3
    with torch.autocast("cpu", torch.float16):
        assert MHSA(16)(x.half()).isfinite().all()


def test_bfloat16_is_as_exact_as_published():
    torch.manual_seed(0)
    module, published = MHSA(64).eval(), PUBLISHED_MORE["MHSA"](64).eval()
    published.load_state_dict(module.state_dict())
    x = torch.randn(1, 64, 12, 12).bfloat16()
    with torch.no_grad():
        expected = module.double()(x.double())
        module.float()
        with torch.autocast("cpu", torch.bfloat16):
            off, published_off = (
                (form(x).double() - expected).norm() / expected.norm() for form in (module, published)
            )
    assert 0 < off < min(1.1 * published_off, 0.03)
