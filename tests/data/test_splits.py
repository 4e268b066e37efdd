import pytest
import torch

from src.data.splits import apportioned, stratified_split, stratified_subset
from src.errors import UserError

LABELS = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)


def test_shares_add_up_and_differ_by_less_than_one_from_the_exact_ones():
    sizes = torch.tensor([17, 3, 9, 40])
    for total in range(70):
        parts = apportioned(sizes, total)
        assert parts.sum() == total
        assert ((parts - sizes * total / 69).abs() < 1).all()


def test_split_is_stratified_disjoint_and_complete():
    rest, part = stratified_split(LABELS, 0.2, seed=1)
    assert torch.bincount(LABELS[part]).tolist() == [10, 6, 4]
    assert torch.cat([rest, part]).sort().values.tolist() == list(range(100))


def test_split_depends_on_the_seed_and_on_nothing_else():
    part = stratified_split(LABELS, 0.2, seed=1)[1]
    assert torch.equal(part, stratified_split(LABELS, 0.2, seed=1)[1])
    assert not torch.equal(part, stratified_split(LABELS, 0.2, seed=2)[1])


@pytest.mark.parametrize(("fraction", "side"), [(0.02, "validation"), (0.99, "training")])
def test_a_class_left_without_images_is_named(fraction, side):
    with pytest.raises(UserError, match=rf"val_fraction={fraction} leaves class \d.*without a {side} image"):
        stratified_split(LABELS, fraction, seed=0)


def test_subset_keeps_every_class_and_the_exact_number():
    labels = torch.tensor([0] * 96 + [1, 2, 2, 2])
    chosen = labels[stratified_subset(labels, 10, seed=0)]
    assert len(chosen) == 10
    assert chosen.unique().tolist() == [0, 1, 2]
    assert len(stratified_subset(labels, 1000, seed=0)) == 100


def test_subset_smaller_than_the_number_of_classes_is_refused():
    with pytest.raises(UserError, match=r"data\.limit=2 .* number of classes, 3"):
        stratified_subset(LABELS, 2, seed=0)
