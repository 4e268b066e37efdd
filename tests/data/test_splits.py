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
    with pytest.raises(UserError, match=rf"val_fraction={fraction} leaves class \d.*without an image for {side}"):
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


def attributes(count=2000, number=8):
    """Correlated attributes, present on 1 to 50 % of the images."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(count, 2, generator=generator) @ torch.randn(2, number, generator=generator)
    values = common + torch.randn(count, number, generator=generator)
    rare = torch.logspace(-2, -0.3, number)
    return torch.stack([values[:, k] > values[:, k].quantile(1 - rare[k]) for k in range(number)], dim=1).long()


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5, 0.8])
def test_a_split_of_several_labels_keeps_the_share_of_every_attribute(fraction):
    """A plain random draw strays by 10 to 20 images here: networks would be chosen on another mixture of attributes."""
    labels = attributes()
    for seed in range(5):
        rest, part = stratified_split(labels, fraction, seed)
        assert torch.cat([rest, part]).sort().values.tolist() == list(range(2000))
        assert len(part) == round(2000 * fraction)
        assert (labels[part].sum(0) - fraction * labels.sum(0)).abs().max() < 9
        assert (labels[part].sum(0) > 0).all()


def test_shares_of_attributes_stray_less_than_by_a_random_draw():
    labels, drawn, random = attributes(), [], []
    for seed in range(20):
        drawn.append(labels[stratified_split(labels, 0.2, seed)[1]].sum(0))
        random.append(labels[torch.randperm(2000, generator=torch.Generator().manual_seed(seed))[:400]].sum(0))
    exact = 0.2 * labels.sum(0)
    strayed, by_chance = ((torch.stack(sums) - exact).pow(2).mean(0).sqrt() for sums in (drawn, random))
    assert (strayed < 0.5 * by_chance).all()


def test_every_image_may_be_drawn_and_seeds_differ():
    """Also where no two images have the same labels, which leaves strata of one order only."""
    labels = ((torch.arange(256)[:, None] >> torch.arange(8)) & 1).long()
    parts = [stratified_split(labels, 0.25, seed)[1] for seed in range(40)]
    assert len(torch.cat(parts).unique()) == 256
    assert torch.equal(parts[0], stratified_split(labels, 0.25, 0)[1])
    assert not torch.equal(parts[0], parts[1])


def test_a_limit_keeps_the_shares_of_attributes():
    labels = attributes()
    chosen = stratified_subset(labels, 500, seed=0)
    assert len(chosen.unique()) == 500
    assert (labels[chosen].float().mean(0) - labels.float().mean(0)).abs().max() < 0.02
    assert len(stratified_subset(labels, 5000, seed=0)) == 2000


@pytest.mark.parametrize(
    ("fraction", "told"),
    [(0.001, "no image at all on the validation side"), (0.99, "the same on all images on the tr")],
)
def test_a_side_on_which_attributes_cannot_be_learned_is_refused(fraction, told):
    with pytest.raises(UserError, match=rf"val_fraction={fraction} leaves .*{told}"):
        stratified_split(attributes(100, 3), fraction, seed=0)
