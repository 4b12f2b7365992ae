"""Every sample once per epoch, whatever the number of processes."""

import numpy as np
import pytest

from data.loading.sampler import EpochSampler


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


@pytest.mark.parametrize("count", [1, 2, 7, 12, 13, 40])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("shuffle", [False, True])
def test_several_processes_share_each_batch_of_one(count: int, world: int, batch: int, shuffle: bool) -> None:
    order = indices(EpochSampler(count, shuffle=shuffle))
    ranks = range(world)
    shares = [indices(EpochSampler(count, shuffle=shuffle, rank=r, world=world)) for r in ranks]
    assert sorted(index for share in shares for index in share) == list(range(count))
    even = [EpochSampler(count, shuffle=shuffle, rank=r, world=world, even_batches=batch) for r in ranks]
    shares = [indices(sampler) for sampler in even]
    assert [len(sampler) for sampler in even] == [len(share) for share in shares]
    batches = [[share[start : start + batch] for start in range(0, len(share), batch)] for share in shares]
    assert len({len(own) for own in batches}) == 1
    left = count % (batch * world)
    twice = world - left if 0 < left < world else 0  # a last batch too small to give each process a sample
    seen = [index for share in shares for index in share]
    assert sorted(set(seen)) == list(range(count))
    assert len(seen) == count + twice
    for number, parts in enumerate(zip(*batches, strict=True)):
        whole = order[number * batch * world : (number + 1) * batch * world]
        assert set(whole) <= {index for part in parts for index in part}


def test_taking_all_samples_of_a_share() -> None:
    sampler = EpochSampler(7, rank=1, world=3, even_batches=2)
    assert indices(sampler) == [1, 4, 0]
    sampler.take_all()
    assert indices(sampler) == list(range(7))
    assert len(sampler) == 7


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="Expected rank from 0 to world - 1 = 1 but got 2"):
        EpochSampler(4, rank=2, world=2)


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
    shares = [EpochSampler(5, shuffle=True, rank=rank, world=2, even_batches=1) for rank in range(2)]
    for share in shares:
        share.weights = sampler.weights
    assert sorted({item for share in shares for item in share}) == sorted(set(sampler))
