"""The front that a search finds, what it may see, and that it goes on where it stood."""

import numpy as np
import pytest
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

import src.runtime.ranks.stopping as stopping
from callbacks.cascade_search import CascadeSearch
from callbacks.run_checkpoint import RunCheckpoint
from src.cascades.thinning import front_indices
from src.errors import UserError
from src.methods.cascade_searchers import CascadeSearcher
from tests.cascades.pools import naive
from tests.cascading import made, of_stored, run


def points(module) -> list[tuple[float, int]]:
    return [(candidate.error, candidate.macs) for candidate in module.candidates]


@pytest.mark.parametrize("searcher", ["gomea", "nsga2", "random", "exact"])
def test_the_front_is_what_a_plain_loop_says_of_it(searcher, tmp_path):
    """Names, thresholds and costs of the candidates belong together, whatever has found them."""
    softmax, labels, macs = made()
    module = of_stored(tmp_path, thin=None)
    run(module, searcher=searcher)
    assert len(module.candidates) > 3
    for candidate in module.candidates:
        members = [int(name[1:]) for name in candidate.architecture["members"]]
        errors, reached = naive(members, candidate.architecture["thresholds"], softmax[:, :200], labels[:200])
        assert candidate.error == pytest.approx(errors / 2)
        assert candidate.macs == round(sum(macs[m] * count for m, count in zip(members, reached, strict=True)) / 200)
    errors, costs = np.array(points(module)).T
    assert sorted(front_indices(errors, costs)) == list(range(len(errors)))  # none dominates another


def test_the_exact_front_is_not_beaten_and_is_told_of(tmp_path):
    exact, random = (of_stored(tmp_path / name, thin=None, slots=2) for name in ("exact", "random"))
    run(exact, searcher="exact")
    run(random, searcher="random", evaluations=10**5)  # all there are
    assert points(random) == points(exact)
    assert [round(cost) for _, cost in random.exact] == [cost for _, cost in points(exact)]
    assert random.evaluations[0] <= 4 + 12 * 51 + 1


def test_thinning_keeps_what_is_better_by_a_step(tmp_path):
    whole, thinned = (of_stored(tmp_path / name, thin=step) for name, step in (("all", None), ("some", 5)))
    run(whole)
    run(thinned)
    assert set(points(thinned)) < set(points(whole))
    errors = sorted(error for error, _ in points(thinned))
    assert len({round((100 - error) / 5) for error in errors}) == len(errors)


def test_an_ensemble_has_no_exits(tmp_path):
    _, _, macs = made()
    module = of_stored(tmp_path, ensemble=True, thin=None)
    run(module, evaluations=100)
    assert module.evaluations[0] <= 15  # sets of up to 3 of 4 members, and the empty one
    for candidate in module.candidates:
        members = [int(name[1:]) for name in candidate.architecture["members"]]
        assert candidate.macs == round(macs[members].sum())
        assert set(candidate.architecture["thresholds"]) <= {1.0}


def test_greedy_cascades_are_of_another_rule(tmp_path):
    """They are tested, and no model config is written that would compute something else."""
    module = of_stored(tmp_path)
    run(module, searcher="greedy")
    assert any("gaps" in candidate.architecture for candidate in module.candidates)
    assert module.architecture() is None


@pytest.mark.parametrize(
    ("options", "searching", "told"),
    [
        ({"repeats": "charge"}, {"searcher": "exact"}, "give method.repeats=refuse"),
        ({"ensemble": True}, {"searcher": "greedy"}, "it knows no method.ensemble=true"),
        ({"objectives": ["error", "latency"]}, {}, "member m0 has no latency_ms, which the objective latency needs"),
    ],
)
def test_what_cannot_be_searched_is_told(options, searching, told, tmp_path):
    with pytest.raises(UserError, match=told):
        run(of_stored(tmp_path, **options), **searching)


def searcher_of(module, known=None, check=lambda: None, name="gomea") -> CascadeSearcher:
    evaluator = module.evaluator(module.pool("validation"))
    return CascadeSearcher(evaluator, name, "macs", 3000, 5, known=known, check=check)


def test_it_looks_at_everything_where_that_takes_seconds_and_little_memory(tmp_path):
    module = of_stored(tmp_path)
    run(module, evaluations=1)
    assert searcher_of(module, name="auto").searcher == "exact"
    module.memory = 1e5  # the sets alone take more
    assert searcher_of(module, name="auto").searcher == "gomea"
    with pytest.raises(UserError, match="memory_gb"):
        searcher_of(module, name="exact").front()


@pytest.mark.parametrize("name", ["gomea", "nsga2", "random"])
def test_a_search_that_was_stopped_goes_on_with_what_it_knew(name, tmp_path):
    """The same front as the whole one, and nothing is evaluated twice."""
    module = of_stored(tmp_path)
    run(module, evaluations=1)
    whole, part = searcher_of(module, name=name), searcher_of(module, name=name)
    front = whole.front()

    def stop() -> None:
        if part.done > 1000:
            raise KeyboardInterrupt

    part.check = stop
    with pytest.raises(KeyboardInterrupt):
        part.front()
    rows, values = part.seen()
    assert 1000 < len(rows) < 3000
    resumed = searcher_of(module, (rows, values), name=name)
    assert resumed.front() == front
    assert len(resumed.seen()[0]) == len(whole.seen()[0])
    assert np.array_equal(np.unique(resumed.seen()[0], axis=0), np.unique(whole.seen()[0], axis=0))


def test_a_signal_saves_the_search_and_the_checkpoint_goes_on(tmp_path, monkeypatch):
    """SIGTERM comes while rank 0 searches; what was evaluated is in the checkpoint and is not evaluated again."""
    whole, folder = of_stored(tmp_path), tmp_path / "run"
    run(whole, searcher="random", evaluations=2000)
    monkeypatch.setattr(stopping, "last_signal", None)
    evaluate = CascadeSearcher._evaluated

    def told(self, rows):
        stopping.last_signal = 15 if self.done else None  # while the second batch is evaluated
        return evaluate(self, rows)

    monkeypatch.setattr(CascadeSearcher, "_evaluated", told)
    monkeypatch.setattr(CascadeSearcher, "front", _endless(CascadeSearcher.front))
    module = of_stored(tmp_path)
    with pytest.raises(SIGTERMException):
        run(module, RunCheckpoint(str(tmp_path / "kept")), evaluations=2000)
    monkeypatch.undo()
    monkeypatch.setattr(stopping, "last_signal", None)
    path = tmp_path / "kept" / "last.ckpt"
    kept = torch.load(path, weights_only=True)["callbacks"]
    assert any("rows" in state and len(state["rows"]) for state in kept.values())
    counted = []

    def counting(self, rows):
        counted.append(len(rows))
        return evaluate(self, rows)

    monkeypatch.setattr(CascadeSearcher, "_evaluated", counting)
    resumed = of_stored(tmp_path, resumed=str(folder))
    run(resumed, RunCheckpoint(str(tmp_path / "kept")), checkpoint=str(path), evaluations=2000)
    assert points(resumed) == points(whole)
    assert sum(counted) < 2000


def _endless(front):
    """A search that goes on until it is stopped."""

    def endless(self):
        front(self)
        while True:
            self.check()

    return endless


def test_one_seed_gives_one_front(tmp_path):
    first, second = of_stored(tmp_path), of_stored(tmp_path)
    run(first)
    run(second)
    assert [c.architecture for c in first.candidates] == [c.architecture for c in second.candidates]


def test_values_are_checked():
    with pytest.raises(UserError, match=r"did you mean 'gomea'"):
        CascadeSearch("gomae")
    with pytest.raises(UserError, match=r"method.evaluations=0"):
        CascadeSearch(evaluations=0)
