"""A cascade computes its rule to the last bit, gives its members the undecided images only, and counts them."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from src.errors import UserError
from src.networks.cascade import Cascade
from src.networks.cascade_macs import fill_macs
from src.networks.cascade_rule import half_softmax as half_softmax_of
from src.networks.cascade_rule import log_means, mean
from src.networks.resnet import ResNet
from tests.networks.cascades import Table, by_loop, half_softmax, numbers, spread, tables

SAMPLES = 300


def cascade(members, thresholds, **options) -> Cascade:
    return Cascade(members, thresholds, **options).eval()


def seen_in_loop(members, thresholds):
    return by_loop([half_softmax(member.logits) for member in members], thresholds)


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("thresholds", [[], [0.9], [0.6, 0.98], [0.9, 0.8, 0.7, 0.6], [1.0, 0.3, 0.0, 1.0]])
def test_it_equals_the_rule_applied_to_one_image_after_the_other(classes, thresholds):
    members = tables(len(thresholds) + 1, SAMPLES, classes, seed=classes)
    found = cascade(members, thresholds)
    logs = found(numbers(SAMPLES))
    answers, lengths = seen_in_loop(members, thresholds)
    assert logs.dtype == torch.float32
    assert torch.equal(logs.argmax(1), torch.from_numpy(answers).argmax(1))
    assert torch.equal(logs, log_means(torch.from_numpy(answers)))
    assert np.allclose(logs.exp(), answers, atol=1e-6)
    reached = [int((lengths >= stage).sum()) for stage in range(1, len(members) + 1)]
    assert found.reached == reached == [sum(member.seen) for member in members]
    if thresholds == [0.9, 0.8, 0.7, 0.6]:
        assert len(set(reached)) == 5  # otherwise the comparison would say little


def test_thresholds_of_zero_give_the_first_member_and_of_one_the_ensemble():
    members = tables(3, SAMPLES, 10)
    stored = [half_softmax(member.logits).astype(np.float64) for member in members]
    first, ensemble = stored[0].astype(np.float32), (sum(stored) / 3).astype(np.float32)
    for threshold, wanted in ((0.0, first), (1.0, ensemble)):
        found = cascade(members, [threshold] * 2)(numbers(SAMPLES))
        assert torch.equal(found, log_means(torch.from_numpy(wanted)))
    assert bool((stored[0].max(1) == 1).any())  # a softmax that is rounded to 1 goes on at t = 1 too


def test_a_tie_with_the_threshold_goes_on():
    """0.75 is a half number, and the softmax of (log 3, 0) is rounded to it; the next smaller float32 lets it leave."""
    first = Table([[np.log(3), 0.0]])
    assert half_softmax(first.logits)[0, 0] == 0.75
    for threshold, reached in ((0.75, [1, 1]), (float(np.nextafter(np.float32(0.75), np.float32(0))), [1, 0])):
        found = cascade([first, Table([[0.0, 0.0]])], [threshold])
        found(numbers(1))
        assert found.reached == reached


def test_thresholds_are_float32_numbers_as_in_the_stored_evaluation():
    """0.3 as float64 is below its float32: two means of that value would be told apart by the number of bits."""
    q, threshold = np.float32(0.3), 0.3
    assert float(q) > threshold
    assert cascade(tables(2, 1, 2), [threshold]).thresholds == [float(q)]


def test_other_images_of_a_batch_change_nothing():
    members = tables(3, SAMPLES, 10)
    found, images = cascade(members, [0.7, 0.9]), numbers(SAMPLES)
    whole, order = found(images), torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found(images[order]), whole[order])
    for size in (1, 7):
        assert torch.equal(torch.cat([found(part) for part in images.split(size)]), whole)
    assert found.reached[0] == 4 * SAMPLES
    assert found(images[:0]).shape == (0, 10)


def test_a_member_that_no_image_reaches_is_not_run():
    members = tables(3, SAMPLES, 10)
    cascade(members, [0.0, 1.0])(numbers(SAMPLES))
    assert [member.seen for member in members] == [[SAMPLES], [], []]


def test_a_cascade_is_a_member_like_any_other():
    """By the loop, with the inner one's outputs as a member's; counts and MACs are those of what has really run."""
    outer, inside = tables(2, SAMPLES, 10), tables(2, SAMPLES, 10, seed=1)
    inner = cascade(inside, [0.8], macs=[10, 100])
    found = cascade([outer[0], inner, outer[1]], [0.9, 0.8], macs=[1, None, 1000])
    stored = [half_softmax(outer[0].logits), half_softmax(inner(numbers(SAMPLES))), half_softmax(outer[1].logits)]
    answers, lengths = by_loop(stored, [0.9, 0.8])
    found.reset_counts()
    assert inner.reached == [0, 0]
    assert torch.equal(found(numbers(SAMPLES)), log_means(torch.from_numpy(answers)))
    at_inner = [int((lengths > 1).sum()), int(((lengths > 1) & (by_loop(stored_of(inside), [0.8])[1] > 1)).sum())]
    assert found.counts() == [SAMPLES, at_inner[0], int((lengths > 2).sum()), *at_inner]
    total = SAMPLES + 10 * at_inner[0] + 100 * at_inner[1] + 1000 * found.reached[2]
    assert found.average_macs() == pytest.approx(total / SAMPLES, rel=1e-12)
    assert found.average_macs([2 * count for count in found.counts()]) == found.average_macs()  # two ranks alike


def stored_of(members):
    return [half_softmax(member.logits) for member in members]


def test_the_softmax_of_an_inner_cascade_is_its_mean_to_half_precision():
    """The means of one member, half numbers, come back to the last bit through its logarithm, zeros too."""
    q = torch.cat([torch.from_numpy(half_softmax(member.logits)) for member in tables(4, SAMPLES, 100)])
    again = half_softmax_of(log_means(q.float()))
    sums = q.double().sum(1, keepdim=True)  # half numbers do not quite sum to 1, a softmax does
    assert torch.equal(again == 0, (q.double() / sums).half() == 0)
    assert torch.allclose(again.double(), q.double() / sums, rtol=2**-10, atol=2**-24)


def test_the_largest_mean_is_the_largest_logarithm_where_they_differ_in_the_last_bit():
    """Near 0.1 float32 has three numbers for each logarithm: the first of them would win in place of the largest."""
    low = torch.linspace(0.05, 0.99, 5000)
    q = torch.stack([low, torch.nextafter(low, torch.ones(()))], 1)
    assert (q.log()[:, 0] == q.log()[:, 1]).any()
    assert (log_means(q).argmax(1) == 1).all()
    assert (log_means(q.flip(1)).argmax(1) == 0).all()
    assert torch.allclose(log_means(q), q.log(), rtol=1e-6)
    assert (log_means(low[:, None].repeat(1, 2)).argmax(1) == 0).all()  # of equal ones the first


def test_a_mean_is_rounded_once():
    """Exact rational arithmetic, rounded to float32 by Python's own rules, over sums of up to seven half numbers."""
    generator = np.random.default_rng(0)
    for members in range(1, 8):
        halves = generator.random((members, 2000)).astype(np.float16).astype(np.float64)
        total = halves.sum(0)
        found = mean(torch.from_numpy(total), members).numpy().astype(np.float64)
        units = np.array([int(value * 2**24) for value in total], dtype=object)  # whole numbers of 2^-24
        step = np.spacing(found.astype(np.float32)).astype(np.float64)
        off = [abs(int(f * 2**60) * members - int(u) * 2**36) for f, u in zip(found, units, strict=True)]
        assert all(2 * error <= members * int(s * 2**60) for error, s in zip(off, step, strict=True))


def test_nan_leaves_and_stays_to_be_seen():
    found = cascade([Table([[float("nan"), 0.0]]), Table([[0.0, 0.0]])], [1.0])
    assert bool(found(numbers(1)).isnan().all())
    assert found.reached == [1, 0]


def networks(*widths: int) -> list[nn.Module]:
    torch.manual_seed(0)
    return [ResNet([1, 1], [width, 2 * width], 10, 1) for width in widths]


def test_counted_operations_are_the_sum_of_macs_times_reached():
    """Over batches of several sizes; MACs by the channel graph, operations by torch's own counter, twice as many."""
    images = torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    inner = cascade(networks(6, 8), [0.5])
    found = spread(cascade([*networks(4, 10), inner], [0.5, 0.5]), images)
    fill_macs(found, (1, 8, 8))
    assert found.macs[2] is None
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for part in images.split(17):
            found(part)
    assert 60 > found.reached[1] > found.reached[2] > 0
    assert counter.get_total_flops() / 2 / 60 == pytest.approx(found.average_macs(), rel=1e-12)


def test_auxiliary_heads_of_a_member_are_left_out():
    class Paired(Table):
        def forward(self, images):
            return super().forward(images), torch.zeros(len(images), 3)

    plain = tables(2, SAMPLES, 10)
    paired = [Paired(member.logits) for member in plain]
    assert torch.equal(cascade(paired, [0.8])(numbers(SAMPLES)), cascade(plain, [0.8])(numbers(SAMPLES)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_rule_stays_in_its_own_precision(dtype):
    """Only what the members compute is of half precision: softmax and means of their logits are as in the rule."""
    images = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    members = networks(4, 8)
    found = spread(cascade(members, [0.5]), images)
    with torch.autocast("cpu", dtype), torch.no_grad():
        logs, logits = found(images), [member(images) for member in members]
    assert logits[0].dtype == dtype
    answers, lengths = by_loop([half_softmax(values) for values in logits], found.thresholds)
    alike = logs.argmax(1) == torch.from_numpy(answers).argmax(1)  # other batches, other roundings of a convolution
    assert logs.dtype == torch.float32
    assert alike.float().mean() > 0.9
    assert 0 < (lengths == 2).sum() < 40


def test_weights_go_round_and_hold_nothing_else():
    first, second = (cascade(networks(4, 8), [0.5]) for _ in range(2))
    nn.init.normal_(first.members[1].fc.weight)
    first(torch.zeros(3, 1, 8, 8))
    state = first.state_dict()
    assert {name.split(".")[0] for name in state} == {"members"}
    assert set(state) == {f"members.{i}.{name}" for i in (0, 1) for name in first.members[i].state_dict()}
    second.load_state_dict(state)
    assert torch.equal(second(torch.ones(3, 1, 8, 8)), first(torch.ones(3, 1, 8, 8)))


def test_it_is_not_trained():
    with pytest.raises(UserError, match=r"a cascade is not trained: .*test_only=true"):
        Cascade(tables(2, 3, 2), [0.5])(numbers(3))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"members": []}, "model.members is empty"),
        ({"thresholds": []}, "model.thresholds has 0 values and model.members 2: it must have 1"),
        ({"thresholds": [0.5, 0.5]}, "model.thresholds has 2 values"),
        ({"thresholds": [1.5]}, r"model.thresholds\[0\]=1.5 is not allowed; it must be a number from 0.0 to 1.0"),
        ({"thresholds": [float("nan")]}, r"model.thresholds\[0\]=nan"),
        ({"thresholds": 0.5}, "model.thresholds=0.5 is not allowed; it must be a list"),
        ({"names": ["a"]}, "model.names has 1 values"),
        ({"names": ["a", 3]}, r"model.names\[1\]=3"),
        ({"macs": [1.0, -1.0]}, r"model.macs\[1\]=-1.0"),
        ({"members": [None, None]}, r"model.members\[0\]=None is no network"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(arguments, told):
    with pytest.raises(UserError, match=told):
        Cascade(**{"members": tables(2, 3, 2), "thresholds": [0.5], **arguments})


def test_a_member_that_does_not_fit_is_named_though_no_image_reaches_it():
    small, wide = tables(1, 3, 2)[0], tables(1, 3, 5)[0]
    with pytest.raises(UserError, match=r"need the same classes: 'a' gives 2, 'b' 5"):
        cascade([small, wide], [1.0], names=["a", "b"])(numbers(3))
    inner = cascade([small, wide], [0.0], names=["a", "b"])
    with pytest.raises(UserError, match="'a' gives 2, 'b' 5"):
        cascade([small, inner], [0.0]).check_members(numbers(3))
    with pytest.raises(UserError, match=r"the member 'c' does not take images of shape \(3, 8, 8\)"):
        cascade(networks(4), [], names=["c"]).check_members(torch.zeros(2, 3, 8, 8))


def test_without_macs_there_is_no_average():
    found = cascade(tables(2, 3, 2), [1.0], macs=[1, None])
    found(numbers(3))
    with pytest.raises(UserError, match=r"the MACs of the member 'member 2' are not known"):
        found.average_macs()
