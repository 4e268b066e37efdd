r"""How well the surrogate ranks sub-nets that it has not seen, on real errors:

    python search.py method=nat model=elastic_tiny hydra.run.dir=outputs/nat
    python search.py method=nat method.supernet=outputs/nat method.warmup_epochs=0 method.epochs=0 \
        method.iterations=1 method.doe=300 hydra.run.dir=outputs/frozen
    python -m tests.benchmarks.surrogate_on_subnets outputs/frozen

The second run evaluates random sub-nets with weights that stay. Of these the surrogate sees some, and is judged by
others: Spearman, Kendall and RMSE (points of percent), means over random halves.
"""

import sys
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from src.evolution.rank_measures import rank_measures
from src.evolution.rbf_ensemble import RBFEnsemble
from src.reporting.candidates import read_candidates
from src.spaces.subnet_space import SubnetSpace

SIZES, REPEATS = (20, 40, 80, 150), 5


def main(folder: Path) -> None:
    config = OmegaConf.load(folder / ".hydra" / "resolved.yaml")
    model = OmegaConf.to_container(config.model, resolve=True)
    candidates = [c for c in read_candidates(folder / "candidates.csv") if c.extra["iteration"] == 0]
    side = candidates[0].architecture["resolution"]
    space = SubnetSpace(model, (model["in_channels"], side, side))
    rows = np.array([space.row(candidate.architecture) for candidate in candidates])
    errors = np.array([candidate.error for candidate in candidates])
    macs = space.macs_of(rows)
    print(f"{len(rows)} sub-nets, errors from {errors.min():.2f} to {errors.max():.2f} %")
    print(f"MACs alone rank them with Spearman {rank_measures(-macs.astype(float), errors)['spearman']:.2f}")
    for size in (size for size in SIZES if size <= len(rows) - 20):
        found = []
        for repeat in range(REPEATS):
            order = np.random.default_rng(repeat).permutation(len(rows))
            seen, unseen = order[:size], order[max(SIZES[0], size) :][:150]
            ensemble = RBFEnsemble(space.alphabet, seed=repeat).fit(rows[seen], errors[seen])
            found.append(rank_measures(ensemble.predict(rows[unseen]), errors[unseen]))
        told = ", ".join(f"{name} {np.mean([one[name] for one in found]):.2f}" for name in found[0])
        print(f"fitted on {size:3d}: {told}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
