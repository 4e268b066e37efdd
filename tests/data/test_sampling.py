from itertools import product

import pytest
import torch

from src.data.sampling import EvaluationSampler, TrainingSampler


def training(count, batch_size, rank=0, world=1, epoch=0, **options):
    sampler = TrainingSampler(count, batch_size, seed=5, rank=rank, world=world, **options)
    sampler.set_epoch(epoch)
    return sampler


def test_an_epoch_is_every_image_once_in_a_new_order():
    first, second = (torch.cat(training(103, 10, epoch=epoch).batches()) for epoch in (0, 1))
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(103))
    assert not torch.equal(first, second)
    assert torch.equal(second, torch.cat(training(103, 10, epoch=1).batches()))


@pytest.mark.parametrize(("count", "batch_size", "sizes"), [(21, 10, [10, 10]), (22, 10, [10, 10, 2]), (2, 1, [1, 1])])
def test_only_a_last_batch_of_one_image_is_dropped(count, batch_size, sizes):
    """Batch norm raises on a batch of one image with one pixel a channel."""
    sampler = training(count, batch_size)
    assert [len(batch) for batch in sampler.batches()] == sizes
    assert len(sampler) == len(sizes)


def test_two_ranks_see_together_the_batches_of_one():
    """The result of a DDP run would otherwise depend on how many processes share the batch."""
    together = [training(103, 5, rank, 2).batches() for rank in (0, 1)]
    for alone, first, second in zip(training(103, 10).batches(), *together, strict=True):
        assert torch.equal(alone, torch.stack([first, second], 1).flatten()[: len(alone)])


def test_training_ranks_have_equally_many_batches_of_equal_sizes():
    """A rank with one batch more would wait for the others for ever."""
    for count, batch_size, world in product(range(6, 40), (2, 3), (2, 3)):
        plans = [training(count, batch_size, rank, world).batches() for rank in range(world)]
        assert len({tuple(map(len, plan)) for plan in plans}) == 1
        assert len(plans[0]) == len(training(count, batch_size, 0, world))


def test_unshuffled_training_is_in_order():
    assert torch.cat(training(20, 6, shuffle=False).batches()).tolist() == list(range(20))


def test_evaluation_counts_every_image_once_with_equally_many_batches_on_all_ranks():
    """An image counted twice moves the error; a rank without a batch hangs the others."""
    for count, batch_size, world in product(range(1, 40), (2, 3, 8), (1, 2, 3)):
        samplers = [EvaluationSampler(count, batch_size, rank=rank, world=world) for rank in range(world)]
        plans = [sampler.batches() for sampler in samplers]
        assert {len(plan) for plan in plans} == {len(samplers[0])}
        assert all(0 < len(batch) <= batch_size for plan in plans for batch in plan)
        seen = torch.cat([batch for plan in plans for batch in plan]).sort().values.tolist()
        if count >= world:
            assert seen == list(range(count))
        else:
            assert set(seen) == set(range(count))


def test_evaluation_on_one_process_keeps_the_order():
    assert torch.cat(EvaluationSampler(10, 4).batches()).tolist() == list(range(10))
