from dataclasses import replace

import pytest
import torch

from callbacks.flops_bin_sampling import FlopsBinSampling
from src.data.digits import DigitsData
from src.evolution.grid import Band
from src.evolution.uniform import UniformScaling
from src.runtime.seeds import keyed_generator
from src.spaces.bin_space import BinSpace
from tests.ground_truth import supernet_training
from tests.ground_truth.supernet_training import K_EVAL, TableScoring, quarter_rows, trained_supernet
from tests.ground_truth.supernets import MEASURED, SHARES, VARIANTS, exhaustive, figures, picked, read, searched
from tests.ground_truth.table import ground_truth
from tests.ground_truth.training import BASE, INPUT_SHAPE

TABLE = ground_truth()
LINES = read()


def test_the_file_has_five_seeds_of_every_super_net():
    assert sorted((line.variant, line.seed) for line, _ in LINES) == sorted((v, s) for v in VARIANTS for s in range(5))
    assert len({line.epochs for line, _ in LINES}) == 1
    assert all(line.wrong.shape == (256,) for line, _ in LINES)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_figures_in_the_file_are_those_of_its_scores(name):
    """A table or a search that changed would leave figures behind that nobody can reach any more."""
    line, kept = next(pair for pair in LINES if pair[0].variant == name)
    found = figures(TABLE, line.errors, line.seed)
    assert found == pytest.approx({key: value for key, value in kept.items() if key not in MEASURED}, abs=6e-5)


def test_true_scores_have_no_regret_and_uniform_widths_have_some():
    for share in SHARES:
        budget = TABLE.budget(share)
        assert exhaustive(TABLE, TABLE.truth, budget) == 0
        uniform = searched(TABLE, TABLE.truth, budget, UniformScaling(TABLE.grid(), Band(0, budget)))
        assert uniform > 0.5


def test_of_equal_scores_the_cheapest_row_is_picked():
    cheap, dear = TABLE.index((1, 1, 1, 1)), TABLE.index((4, 4, 4, 4))
    assert picked(TABLE, torch.zeros(256), torch.tensor([dear, cheap])) == cheap


@pytest.mark.parametrize("name", VARIANTS)
def test_rows_of_the_table_are_the_same_networks_in_every_space(name):
    space = BinSpace(BASE, INPUT_SHAPE, **VARIANTS[name].space)
    assert torch.equal(space.macs_of(quarter_rows(space, TABLE)), TABLE.macs)


def test_scores_are_those_of_the_width_search(monkeypatch):
    """The value of a row as `WidthSearch` asks for it, of validation images alone."""
    wanted = []

    class Held(TableScoring):
        def _score(self, module, sampling: FlopsBinSampling, rows) -> None:
            super()._score(module, sampling, rows)
            evaluation = module.evaluation("min_train_loss")
            for row in rows.tolist():
                generator = keyed_generator(module.seed, "evaluation", *row)
                wanted.append(evaluation.evaluate(sampling.sharing.draw(row, K_EVAL, generator)).error)

    def closed(self):
        raise AssertionError("the test split was opened")

    monkeypatch.setattr(supernet_training, "TableScoring", Held)
    monkeypatch.setattr(supernet_training, "PAIRS", 2)
    monkeypatch.setattr(DigitsData, "test_dataloader", closed)
    part = torch.arange(5, 256, 60)
    few = replace(TABLE, **{name: getattr(TABLE, name)[part] for name in ("rows", "macs", "params", "val", "test")})
    line = trained_supernet("r1", 0, 1, few)
    assert line.errors.tolist() == pytest.approx(wanted, abs=1e-4)
    assert set(line.measured) == set(MEASURED)
    assert trained_supernet("r1", 0, 1, few).wrong.tolist() == line.wrong.tolist()
