"""Every sample once per epoch, whatever the number of processes."""

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
