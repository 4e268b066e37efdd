"""The pool and its files: what is refused, and that what is stored is what was given."""

import numpy as np
import pytest

from src.cascades.imported import check_stored, member_files, read_header, read_outputs
from src.cascades.pool import Member, Pool, check_names
from src.cascades.pool_folder import PoolFolder
from src.cascades.stored_outputs import Outputs, outputs_of_logits, outputs_of_softmax, softmax_of
from src.errors import UserError

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 30)
LOGITS = RNG.normal(size=(30, 4)).astype(np.float32)


def saved(folder, **values):
    """A pool of two files, of which one has other values; None leaves a key out."""
    np.savez(folder / "first.npz", labels=LABELS, logits=LOGITS, macs=10.0)
    keys = {"labels": LABELS, "logits": LOGITS[::-1], "macs": 20, **values}
    np.savez(folder / "second.npz", **{key: value for key, value in keys.items() if value is not None})
    return folder


def imported(folder) -> Pool:
    """The pool of a folder, checked as a run checks it."""
    files = {read_header(file): file for file in member_files(folder)}
    check_names([member.name for member in files])
    check_stored({m.name: dict.fromkeys(("validation", "test"), (file, slice(None))) for m, file in files.items()})
    outputs = [read_outputs(file, member.name) for member, file in files.items()]
    return Pool(tuple(files), LABELS, [o.softmax for o in outputs], [o.gaps for o in outputs])


def nan_at_7() -> np.ndarray:
    values = LOGITS.copy()
    values[7, 2] = np.nan
    return values


def shuffled() -> np.ndarray:
    return np.roll(LABELS, 1)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"labels": LABELS[:-1], "logits": LOGITS[:-1]}, "member second has 29 samples and first has 30"),
        ({"labels": shuffled()}, "member second has the samples in another order than first"),
        ({"labels": np.where(np.arange(30) == 4, (LABELS + 1) % 4, LABELS)}, "1 differ, the first is number 4"),
        ({"logits": np.pad(LOGITS, ((0, 0), (0, 1)))}, "member second has 5 classes and first has 4"),
        ({"labels": LABELS[:-1]}, "member second: it has 30 rows of logits and 29 labels"),
        ({"logits": nan_at_7()}, "member second: its logits hold NaN or infinity, first at sample 7"),
        ({"logits": None, "softmax": LOGITS}, "member second: its softmax has negative values"),
        ({"logits": None, "softmax": abs(LOGITS)}, "member second: its softmax does not sum to 1, first at sample 0"),
        ({"logits": LOGITS[0]}, r"member second: logits must be numbers \(N, C\), not float32 \(4,\)"),
        ({"labels": LABELS + 1}, "member second: its labels hold 4, and with 4 classes they must be from 0 to 3"),
        ({"labels": LABELS - 1}, "member second: its labels hold -1"),
        ({"labels": LABELS / 2}, "member second: labels must be whole numbers"),
        ({"logits": None}, "second.npz must have labels and either logits or softmax; it has labels, macs"),
        ({"labels": None}, "second.npz must have labels and either logits or softmax"),
        ({"macs": None}, "second.npz has no macs"),
        ({"macs": 0}, "member second: macs is 0.0; a cost must be a number above 0"),
        ({"macs": np.nan}, "member second: macs is nan"),
        ({"params": -5}, "member second: params is -5.0"),
        ({"macs": [1, 2]}, "second.npz: macs must be one number"),
        ({"mac": 5}, "has the key mac, which is not known; did you mean 'macs'"),
        ({"name": "first"}, "two members of the pool are called first"),
    ],
)
def test_a_pool_that_cannot_be_used_names_the_member(values, told, tmp_path):
    with pytest.raises(UserError, match=told) as caught:
        imported(saved(tmp_path, **values))
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no file or folder .*/none"):
        imported(tmp_path / "none")
    with pytest.raises(UserError, match=r"is empty: there is no .npz file in it"):
        imported(tmp_path)
    path = saved(tmp_path) / "second.npz"
    whole = bytearray(path.read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"second.npz cannot be read as an .npz file"):
        imported(tmp_path)
    whole[300] ^= 1  # within the labels
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"second.npz is damaged: Bad CRC-32"):
        imported(tmp_path)
    path.write_text("no archive")
    with pytest.raises(UserError, match=r"second.npz cannot be read as an .npz file: it is damaged") as caught:
        imported(tmp_path)
    assert "pickle" not in str(caught.value)
    np.savez(path, labels=np.array([{}]), logits=LOGITS, macs=1)
    with pytest.raises(UserError, match=r"second.npz: labels is damaged, or holds Python objects") as caught:
        imported(tmp_path)
    assert "pickle" not in str(caught.value)


def test_logits_and_their_softmax_are_the_same_member():
    """Of the softmax only what half precision has lost is different: gaps of logits come of either."""
    one = outputs_of_logits("a", LABELS, LOGITS)
    two = outputs_of_softmax("a", LABELS, softmax_of(LOGITS))
    top = np.sort(LOGITS, axis=1)
    assert np.array_equal(one.softmax, two.softmax)
    assert np.allclose(one.gaps, top[:, -1] - top[:, -2], atol=1e-3)
    assert np.allclose(one.gaps, two.gaps, atol=2e-3)


def test_no_probability_is_above_1():
    """Else a mean is above a threshold of 1, at which no image leaves."""
    above = outputs_of_softmax("a", np.array([0]), np.array([[1.005, 0.0]]))
    assert above.softmax.max() == 1


def both_parts(folder, **values):
    """The members of `saved` in two sets, of which the second one's test part has other values."""
    parts = {}
    for name in ("first", "second"):
        for part in ("validation", "test"):
            own = values if (name, part) == ("second", "test") else {}
            given = {"labels": LABELS, "logits": LOGITS * (2 if part == "test" else 1), "macs": 1, **own}
            np.savez(folder / f"{name}-{part}.npz", **given)
        parts[name] = {part: (folder / f"{name}-{part}.npz", slice(None)) for part in ("validation", "test")}
    return parts


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"labels": shuffled()}, r"member second \(test\) has the samples in another order than first"),
        ({"labels": LABELS[:9], "logits": LOGITS[:9]}, r"member second \(test\) has 9 samples and first has 30"),
        ({"logits": LOGITS}, "member second: its test outputs are its validation outputs, in .*second-validation.npz"),
    ],
)
def test_the_test_part_is_checked_as_well(values, told, tmp_path):
    check_stored(both_parts(tmp_path))
    with pytest.raises(UserError, match=told):
        check_stored(both_parts(tmp_path, **values))


def test_a_flat_file_is_looked_at_whole(tmp_path):
    """The samples of two halves exchanged: either part alone has other labels, and what is wrong is the order."""
    saved(tmp_path, labels=np.roll(LABELS, 15))
    halves = {"validation": slice(15), "test": slice(15, None)}
    stored = {name: {p: (tmp_path / f"{name}.npz", h) for p, h in halves.items()} for name in ("first", "second")}
    with pytest.raises(UserError, match="member second has the samples in another order than first"):
        check_stored(stored)


def test_a_certain_answer_has_the_largest_gap_and_no_infinity():
    certain = outputs_of_softmax("a", np.array([0]), np.array([[1.0, 0.0]]))
    assert certain.gaps[0] == np.finfo(np.float16).max


def test_parts_and_costs_of_a_pool(tmp_path):
    pool = imported(saved(tmp_path, params=7))
    part = pool.part(slice(10, None))
    assert (part.samples, part.classes, len(part)) == (20, 4, 2)
    assert np.array_equal(part.outputs[1], pool.outputs[1][10:])
    assert pool.costs("macs").tolist() == [10, 20]
    with pytest.raises(UserError, match="member first has no params"):
        pool.costs("params")
    wrong = (LOGITS.argmax(1) != LABELS).mean() * 100
    assert pool.errors()[0] == pytest.approx(wrong)


def test_a_pool_without_members_and_outputs_of_another_type_are_refused():
    with pytest.raises(UserError, match="the pool is empty"):
        Pool((), LABELS, [])
    with pytest.raises(UserError, match="member a: its outputs are float32"):
        Pool((Member("a", 1),), LABELS, [LOGITS])


def stored(folder) -> tuple[PoolFolder, list]:
    pool = PoolFolder(folder)
    pool.begin(30, 4)
    return pool, [outputs_of_logits("a", LABELS, values) for values in (LOGITS, LOGITS[::-1])]


def test_a_folder_gives_back_what_two_processes_wrote(tmp_path):
    writers, (first, second) = stored(tmp_path)[0], stored(tmp_path)[1]
    writers.add(Member("a/b", 10, 5, 0.5), first)
    writers.begin_member(Member("c", 20))
    for rank in (0, 1):  # each with its own view of the files
        process = PoolFolder(tmp_path)
        process.write("c", np.arange(rank, 30, 2), second.part(slice(rank, None, 2)))
        process.close()
    writers.finish_member("c")
    pool = PoolFolder(tmp_path).pool()
    assert pool.names == ["a/b", "c"]
    assert pool.members[0] == Member("a/b", 10, 5, 0.5)
    assert np.array_equal(pool.labels, LABELS)
    for output, gap, given in zip(pool.outputs, pool.gaps, (first, second), strict=True):
        assert np.array_equal(output, given.softmax)
        assert np.array_equal(gap, given.gaps)


def test_a_member_that_is_half_written_is_not_there(tmp_path):
    folder, (first, _) = stored(tmp_path)
    folder.begin_member(Member("a", 10))
    folder.write("a", np.arange(20), first.part(slice(20)))
    folder.close()
    assert not PoolFolder(tmp_path).finished("a")
    with pytest.raises(UserError, match="member a: of its outputs 10 samples were not written"):
        folder.finish_member("a")
    folder.begin_member(Member("a", 10))  # a resumed run begins it again
    folder.write("a", slice(None), first)
    folder.close()
    folder.finish_member("a")
    assert PoolFolder(tmp_path).pool().names == ["a"]


def test_members_of_other_samples_are_refused_by_name(tmp_path):
    folder, (first, _) = stored(tmp_path)
    folder.add(Member("a", 10), first)
    with pytest.raises(UserError, match="member b has the samples in another order than a"):
        folder.add(Member("b", 10), Outputs(shuffled(), first.softmax, first.gaps))
    with pytest.raises(UserError, match="member b has 3 classes, and this pool has 4"):
        folder.add(Member("b", 10), Outputs(LABELS, first.softmax[:, :3], first.gaps))
    with pytest.raises(UserError, match="member b has 20 samples and the others have 30"):
        folder.add(Member("b", 10), first.part(slice(20)))
    assert folder.pool().names == ["a"]


def test_a_lost_or_cut_file_of_a_folder_is_named(tmp_path):
    folder, (first, _) = stored(tmp_path)
    folder.add(Member("a", 10), first)
    path = tmp_path / "000-a.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(UserError, match=r"member a: .*000-a.npy cannot be read, damaged"):
        folder.pool()
    path.unlink()
    with pytest.raises(UserError, match=r"member a: .*000-a.npy cannot be read, there is no file"):
        folder.pool()
    with pytest.raises(UserError, match="member b has 29 samples of 4 classes and a has 30 of 4"):
        folder.begin(29, 4, name="b")
    (tmp_path / "pool.json").write_text("{")
    with pytest.raises(UserError, match=r"pool.json is damaged"):
        folder.pool()
