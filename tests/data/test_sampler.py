"""Every sample once per epoch, whatever the number of processes."""

import numpy as np
import pytest

from data.sampler import EpochSampler


def indices(sampler: EpochSampler) -> list[int]:
    return [index for _, index in sampler]


def test_the_epoch_travels_with_the_index() -> None:
    sampler = EpochSampler(3)
    assert list(sampler) == [(0, 0), (0, 1), (0, 2)]
    sampler.set_epoch(7)
    assert list(sampler) == [(7, 0), (7, 1), (7, 2)]


def test_shuffling_depends_on_seed_and_epoch_only() -> None:
    sampler = EpochSampler(50, shuffle=True, seed=1)
    first = indices(sampler)
    assert sorted(first) == list(range(50))
    assert first != list(range(50))
    sampler.set_epoch(1)
    second = indices(sampler)
    assert second != first
    sampler.set_epoch(0)
    assert indices(sampler) == first
    assert indices(EpochSampler(50, shuffle=True, seed=2)) != first


@pytest.mark.parametrize("count", [1, 7, 12, 13])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("shuffle", [False, True])
def test_training_pads_and_validation_does_not(count: int, world: int, shuffle: bool) -> None:
    padded = [EpochSampler(count, shuffle=shuffle, rank=r, world=world, pad=True) for r in range(world)]
    shares = [indices(sampler) for sampler in padded]
    assert {len(share) for share in shares} == {-(-count // world)}
    assert set().union(*shares) == set(range(count))
    exact = [EpochSampler(count, shuffle=shuffle, rank=r, world=world) for r in range(world)]
    assert sorted(index for sampler in exact for index in indices(sampler)) == list(range(count))
    for sampler, share in zip(padded, shares, strict=True):
        assert len(sampler) == len(share)


@pytest.mark.parametrize(("count", "world"), [(10, 2), (11, 3), (9, 2), (3, 4)])
@pytest.mark.parametrize("pad", [False, True])
def test_blocks_stay_whole(count: int, world: int, pad: bool) -> None:
    block = 3
    shares = []
    for rank in range(world):
        sampler = EpochSampler(count, rank=rank, world=world, pad=pad, block=block)
        share = indices(sampler)
        assert len(sampler) == len(share)
        for start in range(0, len(share), block):
            batch = share[start : start + block]
            assert batch == list(range(batch[0], batch[0] + len(batch)))
            assert batch[0] % block == 0
        shares.append(share)
    if pad:
        assert len({-(-len(share) // block) for share in shares}) == 1
        assert set().union(*shares) == set(range(count))
    else:
        assert sorted(index for share in shares for index in share) == list(range(count))


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="Expected rank from 0 to world - 1 = 1 but got 2"):
        EpochSampler(4, rank=2, world=2)
    with pytest.raises(ValueError, match="Expected `block` to be 1 with `shuffle`"):
        EpochSampler(4, shuffle=True, block=2)


def test_weights_draw_with_replacement_from_seed_and_epoch() -> None:
    sampler = EpochSampler(1000, shuffle=True, seed=1)
    sampler.weights = np.repeat([0.0, 0.9 / 500, 0.1 / 300], [200, 500, 300])
    drawn = list(sampler)
    indices = np.array([item[1] for item in drawn])
    assert len(drawn) == 1000
    assert indices.min() >= 200
    assert 0.87 < ((indices >= 200) & (indices < 700)).mean() < 0.93
    again = EpochSampler(1000, shuffle=True, seed=1)
    again.weights = sampler.weights
    assert list(again) == drawn
    again.set_epoch(1)
    assert [item[1] for item in again] != indices.tolist()


def test_an_image_drawn_again_is_numbered_so_that_it_is_augmented_differently() -> None:
    sampler = EpochSampler(5, shuffle=True)
    sampler.weights = np.array([0.0, 0.0, 1.0, 0.0, 0.0])
    assert list(sampler) == [(0, 2), (0, 2, 1), (0, 2, 2), (0, 2, 3), (0, 2, 4)]
    shares = [EpochSampler(5, shuffle=True, rank=rank, world=2, pad=True) for rank in range(2)]
    for share in shares:
        share.weights = sampler.weights
    assert sorted({item for share in shares for item in share}) == sorted(set(sampler))
