"""What ENCAS-joint predicts of a cascade of sub-nets: its error and average MACs, from those measured so far.

Each super-net has an ensemble from the genes of its sub-net to that sub-net's error. A second ensemble takes the K
errors, positions and thresholds to the error of the cascade; it learns from the true errors of the sub-nets, and is
asked with predicted ones. A third one takes positions, thresholds and the K exact MACs to the average MACs.
"""

import numpy as np
from numpy.typing import NDArray

from src.evolution.budget import keys
from src.evolution.joint_rows import THRESHOLDS, JointRows
from src.evolution.rbf_ensemble import RBFEnsemble


class JointSurrogate:
    """Predicts two objectives of joint rows; see the head of this file.

    Errors may be shares or percentages, MACs any unit. Errors and MACs go into the second and third ensemble on a scale
    where those known reach from 0 to 1 (how the original scales them is not known). Beyond the original, average MACs
    are kept between those of the first network alone and those of all, and errors within the range that was seen: RBFs
    know neither, and searches find it out.

    Args:
        layout: of the rows.
        members: of each ensemble.
        eta: see RBFEnsemble.
        seed: of the ensembles' draws; keyed by the caller.
        subsets: whether the second and the third ensemble, too, have members that look at random subsets of the 3 K
            inputs, as in the original. Otherwise all look at as many as are independent of each other: of so few inputs
            none can well be spared.
    """

    def __init__(
        self,
        layout: JointRows,
        members: int = 500,
        eta: float = 1e-6,
        seed: int = 0,
        subsets: bool = True,
    ) -> None:
        self.layout = layout
        seeds = np.random.SeedSequence(seed).generate_state(layout.nets + 2).tolist()
        self.nets = [
            RBFEnsemble(alphabet, members, eta, own) for alphabet, own in zip(layout.alphabets, seeds, strict=False)
        ]
        scaled = np.ones(3 * layout.nets)
        least = 1 if subsets else len(scaled)
        self.error, self.cost = (RBFEnsemble(scaled, members, eta, own, least) for own in seeds[layout.nets :])
        self._known: list[dict[bytes, float]] = []

    def fit(
        self,
        rows: NDArray,
        errors_per_net: NDArray,
        cascade_errors: NDArray,
        macs_per_net: NDArray,
        cascade_macs: NDArray,
    ) -> "JointSurrogate":
        """Fits all ensembles, and returns itself.

        Args:
            rows: (n, d) joint rows, canonical ones.
            errors_per_net, macs_per_net: (n, K) of each super-net's sub-net alone, run on every input.
            cascade_errors, cascade_macs: (n,) of the cascade.
        """
        parts, positions, thresholds = self.layout.split(rows)
        errors, macs = np.asarray(errors_per_net, dtype=np.float64), np.asarray(macs_per_net, dtype=np.float64)
        for net, part, own in zip(self.nets, parts, errors.T, strict=True):
            net.fit(part, own)
        self._known = [{} for _ in self.nets]
        self._errors, self._macs = _bounds(errors), _bounds(macs)
        self._seen = (float(np.min(cascade_errors)), float(np.max(cascade_errors)))
        self.error.fit(self._features(_scaled(errors, self._errors), positions, thresholds), cascade_errors)
        self.cost.fit(self._features(_scaled(macs, self._macs), positions, thresholds), cascade_macs)
        return self

    def predict(self, rows: NDArray, macs_per_net: NDArray) -> NDArray:
        """Error and average MACs of joint rows (m, d) whose sub-nets have exact MACs (m, K): float64 (m, 2)."""
        parts, positions, thresholds = self.layout.split(rows)
        errors, macs = self.net_errors(parts), np.asarray(macs_per_net, dtype=np.float64)
        error = self.error.predict(self._features(_scaled(errors, self._errors), positions, thresholds))
        cost = self.cost.predict(self._features(_scaled(macs, self._macs), positions, thresholds))
        alone = np.take_along_axis(macs, self.layout.order(positions)[:, :1], 1)[:, 0]
        return np.stack([np.clip(error, *self._seen), np.clip(cost, alone, macs.sum(1))], axis=1)

    def net_errors(self, parts: list[NDArray]) -> NDArray:
        """Predicted errors (m, K) of sub-nets, rows (m, d_k) of each super-net; each different one is predicted once.

        Most joint rows that a search asks for differ from others in a part of their genes only.
        """
        found = []
        for net, part, known in zip(self.nets, parts, self._known, strict=True):
            names = keys(part)
            missing = {name: place for place, name in enumerate(names) if name not in known}
            if missing:
                known.update(zip(missing, net.predict(part[list(missing.values())]).tolist(), strict=True))
            found.append([known[name] for name in names])
        return np.array(found, dtype=np.float64).T

    def _features(self, values: NDArray, positions: NDArray, thresholds: NDArray) -> NDArray:
        """(m, 3 K): what is known of the networks, scaled, then positions and thresholds as shares of their number."""
        return np.concatenate([values, positions / self.layout.nets, thresholds / len(THRESHOLDS)], axis=1)


def _bounds(values: NDArray) -> tuple[NDArray, NDArray]:
    """Least values (K,), and ranges (K,) of values (n, K), 1 where there is none."""
    low, span = values.min(0), np.ptp(values, axis=0)
    return low, np.where(span > 0, span, 1)


def _scaled(values: NDArray, bounds: tuple[NDArray, NDArray]) -> NDArray:
    return (values - bounds[0]) / bounds[1]
