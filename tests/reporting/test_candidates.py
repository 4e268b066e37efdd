"""The record of a search: what is written must come back, and the front must be the front."""

import io

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.reporting.candidates import (
    Candidate,
    best_candidate,
    pareto_front,
    pareto_mask,
    read_candidates,
    write_candidates,
    write_pareto,
)


def candidate(id, error, macs, **changes):
    values = dict(id=id, parent=id - 1 if id else None, step=id * 5, error=error, macs=macs, params=macs // 10)  # noqa: C408
    return Candidate(**{**values, "seconds": 1.25, "architecture": {"stem": 16, "layer1, a": 32}, **changes})


def dominated(a, b):
    """Whether objectives `a` are dominated by `b`, from the definition."""
    return all(y <= x for x, y in zip(a, b, strict=True)) and any(y < x for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_front_equals_brute_force(seed):
    points = np.random.default_rng(seed).integers(0, 12, size=(60, 2))  # small integers: many equal points
    candidates = [candidate(i, float(e), int(m)) for i, (e, m) in enumerate(points)]
    expected = [not any(dominated(p, q) for q in points.tolist()) for p in points.tolist()]
    assert pareto_mask(candidates).tolist() == expected


def test_equal_candidates_are_all_members_and_a_diverged_one_is_none():
    candidates = [candidate(0, 5.0, 100), candidate(1, 5.0, 100), candidate(2, float("nan"), 1), candidate(3, 6.0, 100)]
    assert pareto_mask(candidates).tolist() == [True, True, False, False]
    assert best_candidate(candidates).id == 0
    assert pareto_mask([]).shape == (0,)
    assert best_candidate([candidates[2]]) is None


def test_an_extra_figure_can_be_an_objective():
    candidates = [candidate(0, 5.0, 1, extra={"latency": 3.0}), candidate(1, 4.0, 1, extra={"latency": 9.0})]
    assert pareto_mask(candidates).tolist() == [False, True]
    assert pareto_mask(candidates, ("error", "latency")).all()
    with pytest.raises(UserError, match="did you mean 'latency'"):
        pareto_mask(candidates, ("error", "latensy"))


def test_an_outdated_candidate_is_on_no_front_and_is_told_in_the_file(tmp_path):
    """Its error is that of weights which have been trained on since; it would hide candidates that are better now."""
    candidates = [candidate(0, 1.0, 10, outdated=True), candidate(1, 5.0, 100), candidate(2, 6.0, 200)]
    assert pareto_mask(candidates).tolist() == [False, True, False]
    assert best_candidate(candidates).id == 1
    path = write_candidates(tmp_path / "candidates.csv", candidates)
    assert read_candidates(path) == candidates
    path.write_text(path.read_text().replace("True\n", "yes\n"))
    with pytest.raises(UserError, match="line 2: column outdated holds 'yes'"):
        read_candidates(path)


def test_a_candidate_of_an_earlier_checkpoint_is_not_outdated():
    stored = candidate(0, 1.0, 10).to_dict()
    del stored["outdated"]
    assert Candidate.from_dict(stored) == candidate(0, 1.0, 10)


def test_csv_gives_back_what_was_written(tmp_path):
    written = [
        candidate(0, 1 / 3, 41_000_001, architecture={"name": 'a,"b"\n', "widths": {"x": [1, 2.5, None]}}),
        candidate(1, float("nan"), 7, extra={"latency": 1e-17, "widths_at_bound": 3}),
    ]
    path = write_candidates(tmp_path / "candidates.csv", written)
    read = read_candidates(path)
    assert read[0] == written[0]
    assert np.isnan(read[1].error)
    assert {**read[1].to_dict(), "error": 0} == {**written[1].to_dict(), "error": 0}
    header = path.read_text().splitlines()[0]
    assert header == "id,parent,step,error,macs,params,latency,widths_at_bound,is_pareto,seconds,architecture"


def test_pareto_file_holds_the_front_from_few_macs_to_many(tmp_path):
    candidates = [candidate(0, 3.0, 900), candidate(1, 9.0, 100), candidate(2, 9.5, 950), candidate(3, 5.0, 500)]
    front = read_candidates(write_pareto(tmp_path / "pareto.csv", candidates))
    assert [member.id for member in front] == [1, 3, 0]
    assert front == pareto_front(candidates)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("macs", "mac", "column macs is missing"),
        ("41000000", "many", "line 2: column macs holds 'many'"),
        ("{", "[", "line 2: column architecture"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, old, new, complaint):
    path = write_candidates(tmp_path / "candidates.csv", [candidate(0, 5.0, 41_000_000)])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=complaint):
        read_candidates(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_candidates(tmp_path / "absent.csv")


def test_a_candidate_survives_a_weights_only_checkpoint_and_later_changes():
    widths = {"stem": np.int64(16)}
    made = candidate(0, np.float32(5), torch.tensor(7), architecture=widths, extra={"latency": np.float64(2)})
    widths["stem"] = 99  # the search goes on
    file = io.BytesIO()
    torch.save([made.to_dict()], file)
    file.seek(0)
    (values,) = torch.load(file, weights_only=True)
    assert Candidate.from_dict(values) == made
    assert made.widths == {"stem": 16}
    with pytest.raises(UserError, match="flops"):
        Candidate.from_dict({**values, "flops": 1})


def test_only_whole_numbers_are_widths():
    assert candidate(0, 1.0, 1, architecture={"depth": 1.5}).widths is None
    assert candidate(0, 1.0, 1, architecture={"use": True}).widths is None
    with pytest.raises(ValueError, match="macs"):
        candidate(0, 1.0, 1, extra={"macs": 1.0})
