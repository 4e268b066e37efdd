"""One super-net of the ground truth's network, trained as `search.py method=cafenet` does, and all 256 rows judged.

Data, split and optimizer are those of the trainings in the table. Scores come of validation images alone.
"""

import time
from functools import partial
from statistics import fmean, variance

import pytorch_lightning as pl
import torch
from torch import Tensor

from callbacks.flops_bin_sampling import FlopsBinSampling
from src.methods.cafenet import CafeNet
from src.runtime.schedules import cosine
from src.runtime.seeds import keyed_generator
from src.runtime.trainer import make_trainer
from src.spaces.bin_space import BinSpace
from src.tasks.classification import Classification
from tests.ground_truth.make import GROUPS, full_widths
from tests.ground_truth.supernets import VALIDATION_IMAGES, VARIANTS, Line, mean_banded
from tests.ground_truth.table import BINS, GroundTruth
from tests.ground_truth.training import BASE, INPUT_SHAPE, digits_data

K_EVAL = 4
CALIBRATION_IMAGES = 500
PAIRS = 48  # widths whose candidates are compared
PAIR_BATCH = 64  # images, as in training


class TableScoring(pl.Callback):
    """In the place of `WidthSearch`: after the training of the super-net it judges every row of the table.

    Sets `wrong` (256,) and `measured`.
    """

    def __init__(self, table: GroundTruth) -> None:
        self.table, self.measured = table, {}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: CafeNet) -> None:
        if not pl_module.searching() or pl_module.ended:
            return
        sampling = pl_module.callback(FlopsBinSampling)
        rows = quarter_rows(pl_module.space, self.table)
        self._score(pl_module, sampling, rows)
        self.measured |= compared_candidates(pl_module, sampling)
        sampling.mean_losses()  # takes up the last steps
        self.measured["evenness"] = float(sampling.statistics.evenness().nanmean())
        pl_module.end_search()

    def _score(self, module: CafeNet, sampling: FlopsBinSampling, rows: Tensor) -> None:
        """K_EVAL candidates of each row, drawn and evaluated as `WidthSearch` does; and what other reductions make.

        Every candidate is a width of its own here, so that one evaluation serves all reductions; the test holds the
        result against `WidthEvaluation`'s own.
        """
        evaluation = module.evaluation("min_train_loss")
        values = []
        for row in rows.tolist():
            choices = sampling.sharing.draw(row, K_EVAL, keyed_generator(module.seed, "evaluation", *row))
            values.append([evaluation.evaluate([choice]) for choice in choices])
        self.chosen = [min(own, key=lambda value: value.train_loss) for own in values]
        errors = [[value.error for value in own] for own in values]
        several = [variance(own) for own in errors if len(own) > 1]
        others = {
            "first_tau": [own[0] for own in errors],
            "mean_tau": [fmean(own) for own in errors],
            "lowest_tau": [min(own) for own in errors],
            "loss_tau": [value.train_loss for value in self.chosen],
        }
        self.measured |= {name: mean_banded(self.table, torch.tensor(scores)) for name, scores in others.items()}
        self.measured["candidate_sd"] = fmean(several) ** 0.5 if several else 0.0
        chosen = torch.tensor([value.error for value in self.chosen], dtype=torch.float64)
        self.wrong = (chosen * VALIDATION_IMAGES / 100).round().to(torch.int64)


def quarter_rows(space: BinSpace, table: GroundTruth) -> Tensor:
    """The rows of the table as bins of `space`; `UserError` where a quarter is not on the border of a bin."""
    full, _ = full_widths()
    genotypes = [
        {name: full[name] * bins // BINS for name, bins in zip(GROUPS, row, strict=True)} for row in table.rows.tolist()
    ]
    return torch.stack([space.row(genotype) for genotype in genotypes])


@torch.no_grad()
def compared_candidates(module: CafeNet, sampling: FlopsBinSampling) -> dict[str, float]:
    """What a step has to choose between: losses of two candidates on training batches, each with its own statistics."""
    generator = keyed_generator(module.seed, "compared candidates")
    images, targets = (torch.cat(parts) for parts in zip(*module.calibration_batches(), strict=True))
    count = len(images) // PAIR_BATCH * PAIR_BATCH
    batches = list(zip(images[:count].split(PAIR_BATCH), targets[:count].split(PAIR_BATCH), strict=True))
    losses = []  # (widths, candidates, batches)
    module.network.train()
    while len(losses) < PAIRS:
        row = module.space.grid.uniform(1, generator)[0].tolist()
        if sampling.offset_r and sampling.sharing.count(row) < 2:
            continue
        paths = [module.network.path(choice) for choice in sampling.sharing.draw(row, 2, generator)]
        own = [[module.task.loss(module.network(x, path, None), y) for x, y in batches] for path in paths]
        losses.append(torch.tensor(own, dtype=torch.float64).expand(2, -1))  # r=0: a width has but one candidate
    losses = torch.stack(losses)
    difference = losses[:, 0] - losses[:, 1]
    wins, of = (difference < 0).sum(1).double(), difference.shape[1]
    same = (wins * (wins - 1) + (of - wins) * (of - wins - 1)) / (of * (of - 1))
    compared = sampling.offset_r > 0
    return {
        "gap": float(difference.mean(1).square().mean().sqrt()) if compared else torch.nan,
        "noise": float(difference.var(1).mean().sqrt()) if compared else torch.nan,
        "agreement": float(same.mean()) if compared else torch.nan,
        "width_sd": float(losses.mean((1, 2)).std()),
    }


def trained_supernet(name: str, seed: int, epochs: int, table: GroundTruth) -> Line:
    """The super-net of a variant, with its seed of weights, orders and widths; the split is that of the table."""
    variant, began = VARIANTS[name], time.perf_counter()
    data = digits_data()
    data.order_seed = seed
    module = CafeNet(
        BASE,
        INPUT_SHAPE,
        epochs=epochs,
        space=partial(BinSpace, **variant.space),
        calibration_images=CALIBRATION_IMAGES,
        seed=seed,
        task=Classification(10),
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True),
        scheduler=partial(cosine, warmup=0.1),
    )
    scoring = TableScoring(table)
    sampling = FlopsBinSampling(variant.offset_r, variant.k_train, zone_unit=variant.zone_unit)
    options = {"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0, "check_val_every_n_epoch": epochs + 1}
    module.search(make_trainer(options, [sampling, scoring]), data)
    measured = scoring.measured | {"seconds": time.perf_counter() - began}
    return Line(name, seed, epochs, scoring.wrong, measured)
