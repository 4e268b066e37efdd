"""EVBMF against the published formula, its bounds and a numerical minimum, on fresh random matrices."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from src.errors import UserError
from src.lowrank.evbmf import factorise, rank_ceiling
from tests.lowrank.matrices import gaussian, planted, solve

SEEDS = range(5)
PLANTED = [(32, 288, 5), (64, 576, 10), (64, 576, 30), (64, 64, 8), (128, 64, 8), (288, 32, 5)]


def published_constants(rows: int, columns: int) -> tuple[float, float]:
    alpha = rows / columns
    tau = 2.5129 * math.sqrt(alpha)
    return alpha, (1 + tau) * (1 + alpha / tau)


def published_free_energy(v: float, s: np.ndarray, rows: int, columns: int) -> float:
    """The published formula, term by term."""
    alpha, edge = published_constants(rows, columns)
    total = (rows - len(s)) * math.log(v)
    for value in s:
        x = value**2 / (columns * v)
        if x <= edge:
            total += x - math.log(x)
        else:
            tau = 0.5 * (x - (1 + alpha) + math.sqrt((x - (1 + alpha)) ** 2 - 4 * alpha))
            total += x - tau + math.log((tau + 1) / x) + alpha * math.log(tau / alpha + 1)
    return total


def published_bounds(s: np.ndarray, rows: int, columns: int) -> tuple[float, float]:
    alpha, edge = published_constants(rows, columns)
    ceiling = min(math.ceil(rows / (1 + alpha)) - 1, rows)
    lower = max(s[ceiling] ** 2 / (columns * edge), np.mean(s[ceiling:] ** 2) / columns)
    return lower, (s**2).sum() / (rows * columns)


def published_result(v: float, s: np.ndarray, rows: int, columns: int) -> tuple[int, np.ndarray]:
    _, edge = published_constants(rows, columns)
    kept = s[s > math.sqrt(columns * v * edge)]
    part = 1 - (rows + columns) * v / kept**2
    return len(kept), kept / 2 * (part + np.sqrt(part**2 - 4 * rows * columns * v**2 / kept**4))


@pytest.mark.parametrize(
    ("solver", "scale"),
    # At 1e-4 the absolute tolerance of the reference solver exceeds its whole search interval: it finds ranks in noise.
    [("exact", 1e-4), ("exact", 1.0), ("exact", 1e4), ("reference", 0.05), ("reference", 1.0), ("reference", 1e4)],
)
def test_pure_noise_has_rank_zero(solver: str, scale: float):
    """A false positive here would report structure in an untrained network."""
    shapes = [(16, 144), (64, 64), (32, 128), (64, 576)]
    noise = [scale * gaussian(*shape, seed) for seed in SEEDS for shape in shapes]
    found = solve(*noise, solver=solver)
    assert found.rank.tolist() == [0] * len(noise)
    assert not found.singular_values.any()


def test_default_initialised_convolutions_have_rank_zero():
    torch.manual_seed(7)
    layers = [torch.nn.Conv2d(i, o, k) for i, o, k in [(16, 32, 3), (64, 64, 1), (64, 16, 3), (128, 256, 3)]]
    matrices = [side for layer in layers for side in (layer.weight.flatten(1), layer.weight.transpose(0, 1).flatten(1))]
    assert solve(*matrices).rank.tolist() == [0] * len(matrices)


@pytest.mark.parametrize(("rows", "columns", "rank"), PLANTED)
def test_planted_rank_and_noise_are_found(rows: int, columns: int, rank: int):
    found = solve(*[planted(rows, columns, rank, seed) for seed in SEEDS])
    assert found.rank.tolist() == [rank] * len(SEEDS)
    # Where nearly half of all directions are signal, the estimate itself (not its solver) is 6 % too high.
    assert found.noise_variance.mean().item() == pytest.approx(1.0, abs=0.03 if rank < 30 else 0.08)


def test_planted_rank_of_a_wide_layer():
    found = solve(planted(256, 2304, 40, seed=3))
    assert found.rank.item() == 40
    assert found.noise_variance.item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_result_is_invariant(seed: int):
    """Weight decay scales weights during training: a rank that followed would be an artefact, as in the reference."""
    matrix = planted(48, 120, 6, seed, edges=0.9)
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(gaussian(48, 48, seed + 5)).Q
    changed = {
        "tiny": 1e-4 * matrix,
        "huge": 1e4 * matrix,
        "transposed": matrix.T,
        "rows permuted": matrix[torch.randperm(48, generator=generator)],
        "columns permuted": matrix[:, torch.randperm(120, generator=generator)],
        "rotated": rotation @ matrix,
    }
    base, found = solve(matrix), solve(*changed.values())
    assert base.rank.item() > 0
    assert found.rank.tolist() == base.rank.tolist() * len(changed)
    relative = base.singular_values[0] / base.singular_values[0, 0]
    for name, values in zip(changed, found.singular_values, strict=True):
        torch.testing.assert_close(values / values[0], relative, rtol=1e-7, atol=1e-7, msg=name)
    assert found.noise_variance[1].item() == pytest.approx(1e8 * base.noise_variance.item(), rel=1e-7)


@pytest.mark.parametrize("shape", [(20, 180), (40, 60), (50, 50), (90, 30), (1, 9), (2, 2)])
def test_rank_and_shrinkage_stay_within_the_theory(shape: tuple[int, int]):
    """Strong structure everywhere, so that the ceiling is really reached for."""
    matrices = [gaussian(*shape, seed).exp() ** 2 * torch.logspace(0, -5, shape[1]) for seed in SEEDS]
    found = solve(*matrices)
    rows, columns = (torch.tensor(size) for size in shape)
    assert int(rank_ceiling(rows, columns)) == math.ceil(math.prod(shape) / sum(shape)) - 1
    assert bool((found.rank <= rank_ceiling(rows, columns)).all())
    for matrix, d, rank in zip(matrices, found.singular_values, found.rank.tolist(), strict=True):
        true = torch.linalg.svdvals(matrix)[:rank]
        assert bool((d[:rank] < true).all())
        assert bool((d[:rank] > 0).all())
        assert bool((d[: max(rank - 1, 0)] >= d[1:rank]).all())
        assert not d[rank:].any()


@pytest.mark.parametrize(
    ("rows", "columns", "edge", "kept"), [(64, 576, 1.082, 0.402), (64, 128, 1.105, 0.499), (64, 64, 1.108, 0.512)]
)
def test_threshold_constants(rows: int, columns: int, edge: float, kept: float):
    """Threshold over the edge of the noise, and what a singular value at the threshold keeps after shrinkage."""
    found = solve(gaussian(rows, columns, seed=0))
    v, threshold = found.noise_variance.item(), found.threshold.item()
    assert threshold / (math.sqrt(v) * (math.sqrt(rows) + math.sqrt(columns))) == pytest.approx(edge, abs=6e-4)
    _, d = published_result(v, np.array([threshold * (1 + 1e-9)]), rows, columns)
    assert d.item() / threshold == pytest.approx(kept, abs=6e-4)


@pytest.mark.parametrize("solver", ["exact", "reference"])
def test_zero_matrix_has_rank_zero(solver: str):
    found = solve(torch.zeros(12, 30), torch.zeros(30, 12), torch.zeros(1, 1), solver=solver)
    assert found.rank.tolist() == [0, 0, 0]
    assert found.noise_variance.tolist() == [0, 0, 0]
    assert not found.singular_values.any()
    assert found.failures == 0


@pytest.mark.parametrize("rank", [1, 3, 7])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_noise_free_matrix_gives_its_rank(rank: int, precision: torch.dtype):
    matrices = [(gaussian(40, rank, seed) @ gaussian(rank, 100, seed + 50)).to(precision) for seed in SEEDS]
    found = solve(*matrices, *[matrix.T for matrix in matrices])
    assert found.rank.tolist() == [rank] * 10
    # Without noise nothing is shrunken.
    torch.testing.assert_close(found.singular_values[0, :rank], torch.linalg.svdvals(matrices[0].double())[:rank])


def test_flat_spectrum_and_single_rows_have_rank_zero():
    orthogonal = torch.linalg.qr(gaussian(30, 30, 0)).Q
    found = solve(orthogonal, orthogonal[:10], gaussian(1, 50, 1), gaussian(50, 1, 2), torch.ones(1, 1))
    assert found.rank.tolist() == [0] * 5


def test_bad_values_and_unknown_solver_are_errors():
    size = torch.tensor([3])
    with pytest.raises(UserError, match="diverged"):
        factorise(torch.tensor([[1.0, float("nan"), 0.0]]), size, size)
    with pytest.raises(UserError, match="did you mean 'exact'"):
        factorise(torch.ones(1, 3), size, size, solver="exakt")


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_mode_agrees_with_a_dense_grid_on_a_full_svd(seed: int):
    """An independent slow path: numpy SVD, the published formula, no normalisation, no transposition of the code."""
    graded = gaussian(24, 70, seed) * torch.logspace(0, -2, 70)
    wild = gaussian(50, 20, seed).exp() ** 2
    for matrix in [planted(24, 70, 4, seed, edges=1.0), graded, wild]:
        s = np.linalg.svd(matrix.numpy(), compute_uv=False)
        rows, columns = sorted(matrix.shape)
        grid = np.geomspace(*published_bounds(s, rows, columns), 3000)
        best = grid[np.argmin([published_free_energy(v, s, rows, columns) for v in grid])]
        rank, d = published_result(best, s, rows, columns)
        found = solve(matrix)
        assert found.rank.item() == rank
        assert found.noise_variance.item() == pytest.approx(best, rel=2e-3)
        np.testing.assert_allclose(found.singular_values[0, :rank], d, rtol=5e-3)


def test_noise_variance_is_exactly_stationary():
    """To the precision of float64: single precision anywhere in the search would leave a far larger slope."""
    rows, columns = 64, 576
    matrix = planted(rows, columns, 30, seed=0)
    alpha, edge = published_constants(rows, columns)
    x = np.linalg.svd(matrix.numpy(), compute_uv=False) ** 2 / (columns * solve(matrix).noise_variance.item())
    shifted = x[x > edge] - (1 + alpha)
    tau = 0.5 * (shifted + np.sqrt(shifted**2 - 4 * alpha))
    slope = (1 - x[x <= edge]).sum() - (alpha * (1 + 1 / tau)).sum()
    assert abs(slope) < 1e-8


@pytest.mark.parametrize("shape", [(30, 90), (40, 40), (60, 30)])
@pytest.mark.parametrize("scale", [1.0, 0.003])
def test_reference_mode_agrees_with_the_published_procedure(shape: tuple[int, int], scale: float):
    for seed in SEEDS:
        matrix = scale * planted(*shape, 5, seed)
        s = np.linalg.svd(matrix.numpy(), compute_uv=False)
        options = {"bounds": published_bounds(s, *shape), "args": (s, *shape), "method": "bounded"}
        rank, d = published_result(minimize_scalar(published_free_energy, **options).x, s, *shape)
        found = solve(matrix, solver="reference")
        assert found.rank.item() == rank
        np.testing.assert_allclose(found.singular_values[0, :rank], d, rtol=1e-6)


def test_reference_mode_reports_what_it_cannot_solve():
    """The published code hides this case and goes on with the value of the epoch before."""
    tall = [gaussian(240, 60, seed) for seed in SEEDS]
    found = solve(*tall, planted(30, 90, 5, 0), solver="reference")
    assert found.failed.tolist() == [True] * 5 + [False]
    assert found.failures == 5
    assert found.rank.tolist() == [-1] * 5 + [5]
    assert bool(found.noise_variance[:5].isnan().all())
    assert solve(*tall).rank.tolist() == [0] * 5


def test_reference_mode_depends_on_scale_and_exact_does_not():
    """Defect B2 of the published code, an absolute tolerance: without it the mode would be no reference."""
    signal = torch.linalg.qr(gaussian(128, 128, 1)).Q * torch.arange(1, 129) ** -0.7
    matrix = signal @ torch.linalg.qr(gaussian(1152, 128, 2)).Q.T * 60 + gaussian(128, 1152, 3)
    small = 0.003 * matrix
    assert solve(small).rank.item() == solve(matrix).rank.item()
    assert solve(small, solver="reference").rank.item() > solve(matrix, solver="reference").rank.item()
