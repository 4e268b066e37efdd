"""The greedy cascade of Streeter against a plain loop, and what happens at its edges."""

from fractions import Fraction

import numpy as np
import pytest

from src.cascades.greedy import ALPHAS, GapPlan, GreedySearch, evaluate_gap_cascade, greedy_cascades
from src.errors import UserError
from tests.cascades.pools import cifar10_pool, logit_gaps, small, small_gaps


def _loop(correct, gaps, costs, reference, alpha, compare):
    """The cascade as the specification says it, in sets and fractions: members, gaps, wrong answers, total cost."""
    alpha, costs = Fraction(str(alpha)), [Fraction(cost) for cost in costs.tolist()]
    count = correct.shape[1]
    left, members, thresholds, wrong, cost = set(range(count)), [], [], 0, Fraction(0)
    while left:
        options = []
        for m in sorted(set(range(len(costs))) - set(members), key=lambda m: (costs[m], m)):
            for gap in sorted({gaps[m, n] for n in left}):
                answers = [n for n in left if gaps[m, n] >= gap]
                judged = answers if compare == "answered" else range(count)
                accuracy = Fraction(sum(int(correct[reference, n]) for n in judged), len(judged))
                if Fraction(sum(int(correct[m, n]) for n in answers), len(answers)) >= alpha * accuracy:
                    options.append((m, gap, answers))
                    break
        if options:
            m, gap, answers = max(options, key=lambda option: len(option[2]) / costs[option[0]])
        elif reference not in members:
            m, gap, answers = reference, -np.inf, list(left)
        else:
            wrong += sum(not correct[members[-1], n] for n in left)
            break
        cost += len(left) * costs[m]
        wrong += sum(not correct[m, n] for n in answers)
        left -= set(answers)
        members.append(m)
        thresholds.append(float(gap))
    return tuple(members), tuple(thresholds[:-1]), wrong, cost


def _pool(members=7, samples=60, seed=0, ties=True):
    softmax, labels, macs = small(members, samples, 10, seed)
    gaps = small_gaps(members, samples, 10, seed)
    return softmax.argmax(-1) == labels, np.round(gaps * 2) / 2 if ties else gaps, macs**0.3


@pytest.mark.parametrize("compare", ["answered", "all"])
@pytest.mark.parametrize(("seed", "ties"), [(0, True), (1, False)])
def test_equals_a_plain_loop(compare, seed, ties):
    """Members, thresholds, errors and costs; with many equal gaps, which must be answered all or none."""
    correct, gaps, costs = _pool(seed=seed, ties=ties)
    search = GreedySearch(correct, gaps, costs, compare)
    lengths = set()
    for reference in range(len(costs)):
        for alpha in ALPHAS:
            plan = search.cascade(reference, alpha)
            members, thresholds, wrong, cost = _loop(correct, gaps, costs, reference, alpha, compare)
            assert (plan.members, plan.gaps) == (members, thresholds)
            error, average, reached = evaluate_gap_cascade(plan, correct, gaps, costs)
            assert error == pytest.approx(100 * wrong / correct.shape[1])
            assert average == pytest.approx(float(cost) / correct.shape[1])
            assert reached[0] == correct.shape[1]
            lengths.add(len(members))
    assert max(lengths) >= 3  # else the loop would have shown little


def test_more_members_than_a_block_give_the_same_as_all_at_once(monkeypatch):
    """Costly members are not looked at where they could not win: what is skipped must not matter."""
    correct, gaps, costs = _pool(members=40, samples=100)
    searches = []
    for cells in (300, 1 << 20):
        monkeypatch.setattr("src.cascades.greedy._CELLS", cells)
        searches.append([GreedySearch(correct, gaps, costs).cascade(r, a) for r in (0, 20, 39) for a in ALPHAS])
    assert searches[0] == searches[1]


def test_with_alpha_one_and_the_same_samples_nothing_is_lost():
    """Each stage is as accurate as the reference on what it answers, so the whole is at least as accurate."""
    correct, gaps, costs = _pool(samples=400, ties=False)
    search = GreedySearch(correct, gaps, costs)
    for reference in range(len(costs)):
        error, _, _ = evaluate_gap_cascade(search.cascade(reference, 1.0), correct, gaps, costs)
        assert error <= 100 * (1 - correct[reference].mean()) + 1e-9


def test_where_no_member_reaches_the_reference_it_answers_what_is_left():
    """Member 1 is right on 4 of 5; of the three that member 0 leaves it is not right on 80 %, however sure it is."""
    correct = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], dtype=bool)
    gaps = np.array([[3, 3, 1, 1, 1], [1, 1, 1, 1, 3]], dtype=np.float16)
    assert GreedySearch(correct, gaps, [1.0, 8.0], "all").cascade(1, 1.0) == GapPlan((0, 1), (3.0,))
    assert evaluate_gap_cascade(GapPlan((0, 1), (3.0,)), correct, gaps, [1.0, 8.0])[:2] == (20.0, 1 + 8 * 3 / 5)


def test_where_the_reference_had_its_turn_the_last_member_answers_what_is_left():
    """Member 1, right on 3 of 5, answers sample 2 in its turn; on the last two nobody is right on 60 %."""
    correct = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0]], dtype=bool)
    gaps = np.array([[3, 3, 1, 1, 1], [1, 1, 3, 1, 2]], dtype=np.float16)
    assert GreedySearch(correct, gaps, [1.0, 8.0], "all").cascade(1, 1.0) == GapPlan((0, 1), (3.0,))
    assert evaluate_gap_cascade(GapPlan((0, 1), (3.0,)), correct, gaps, [1.0, 8.0])[2].tolist() == [5, 3]


def test_the_last_member_answers_everything_on_other_samples():
    correct = np.array([[True, False], [False, True]])
    gaps = np.array([[0.5, 0.5], [0.0, 0.0]], dtype=np.float16)
    error, cost, reached = evaluate_gap_cascade(GapPlan((0, 1), (0.75,)), correct, gaps, [1.0, 10.0])
    assert (error, cost, reached.tolist()) == (50.0, 11.0, [2, 2])


def test_the_front_of_all_references_and_factors():
    correct, gaps, costs = _pool(samples=300, ties=False)
    front = greedy_cascades(correct, gaps, costs)
    values = np.array([(c.error, c.cost) for c in front])
    assert (np.diff(values[:, 1]) > 0).all()
    assert (np.diff(values[:, 0]) < 0).all()
    for cascade in front:
        assert evaluate_gap_cascade(cascade.plan, correct, gaps, costs)[:2] == (cascade.error, cascade.cost)
    search = GreedySearch(correct, gaps, costs)
    for reference in range(len(costs)):  # none of them is better than the front
        for alpha in ALPHAS:
            error, cost, _ = evaluate_gap_cascade(search.cascade(reference, alpha), correct, gaps, costs)
            assert ((values[:, 0] <= error) & (values[:, 1] <= cost)).any()


def test_on_the_real_pool_greedy_beats_single_networks():
    """A cheaper cascade at the accuracy of the best network: what the algorithm is for."""
    pool = cifar10_pool()
    correct, gaps = pool.logits[:, :5000].argmax(-1) == pool.labels[:5000], logit_gaps(pool.logits[:, :5000])
    front = greedy_cascades(correct, gaps, pool.macs, alphas=(1.0, 0.98))
    best = correct.mean(axis=1).argmax()
    as_good = [c for c in front if c.error <= 100 * (1 - correct[best].mean()) + 1e-9]
    assert as_good
    assert as_good[0].cost < 0.7 * pool.macs[best]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gaps": np.zeros((2, 2))}, "must be bool"),
        ({"correct": np.ones((2, 3))}, "must be bool"),
        ({"gaps": np.array([[1.0, 1, 1], [1, np.nan, 1]])}, "member 1 has logit gaps"),
        ({"costs": [1.0, 0.0]}, "positive"),
    ],
)
def test_what_cannot_be_a_pool_is_refused(change, words):
    pool = {"correct": np.ones((2, 3), dtype=bool), "gaps": np.ones((2, 3)), "costs": [1.0, 2.0]} | change
    with pytest.raises(ValueError, match=words):
        GreedySearch(**pool)


def test_a_factor_above_one_and_an_unknown_comparison_are_mistakes():
    pool = np.ones((2, 3), dtype=bool), np.ones((2, 3)), [1.0, 2.0]
    with pytest.raises(UserError, match=r"alpha=1\.5"):
        GreedySearch(*pool).cascade(0, 1.5)
    with pytest.raises(UserError, match="did you mean 'answered'"):
        GreedySearch(*pool, compare="answerd")
