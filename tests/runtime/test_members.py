"""What `method.members` may name, and which members cannot be judged together."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from src.errors import UserError
from src.runtime.data_of_members import take_run_of_members
from src.runtime.members import given_members
from tests.cascading import stored

DATA = {"_target_": "src.data.digits.DigitsData", "name": "digits", "seed": 0, "val_fraction": 0.2, "batch_size": 64}


def run_folder(path, **data):
    (path / ".hydra").mkdir(parents=True)
    (path / "architecture.yaml").write_text("_target_: torch.nn.Identity\n")
    (path / "weights.pt").write_bytes(b"")
    OmegaConf.save({"data": {**DATA, **data}}, path / ".hydra" / "resolved.yaml")
    return str(path)


def config(*members, **data):
    return OmegaConf.create({"method": {"members": list(members), "split": None}, "data": {**DATA, **data}})


def test_the_data_of_the_first_run_is_taken(tmp_path):
    runs = [run_folder(tmp_path / name, seed=7, batch_size=size) for name, size in (("a", 8), ("b", 16))]
    made = config(*runs)
    take_run_of_members(made, set())
    assert made.data.seed == 7
    assert made.data.batch_size == 8


@pytest.mark.parametrize(
    ("key", "value"), [("seed", 1), ("name", "mnist"), ("val_fraction", 0.1), ("limit", 100), ("mean", [0.5])]
)
def test_a_member_of_another_split_or_other_images_is_refused_by_name(key, value, tmp_path):
    """It may have been trained on the images that it would be judged by."""
    runs = [run_folder(tmp_path / "a"), run_folder(tmp_path / "b", **{key: value})]
    with pytest.raises(UserError, match=f"member b was trained with data.{key}=.* and a with data.{key}="):
        take_run_of_members(config(*runs), set())


def test_other_data_on_the_command_line_is_refused_and_a_batch_size_is_not(tmp_path):
    folder = run_folder(tmp_path / "a")
    made = config(folder, batch_size=5)
    take_run_of_members(made, {"data.batch_size"})
    assert made.data.batch_size == 5
    with pytest.raises(UserError, match=r"data.seed=3: member a was trained with data.seed=0"):
        take_run_of_members(config(folder, seed=3), {"data.seed"})
    with pytest.raises(UserError, match="data=mnist: member a was trained on data=digits; leave data out"):
        take_run_of_members(config(folder, name="mnist"), {"data"})


def test_stored_outputs_need_no_data(tmp_path):
    made = config(*stored(tmp_path))
    take_run_of_members(made, set())
    assert made.data._target_ == "src.data.no_images.NoImages"
    assert made.data.num_classes == 5
    with pytest.raises(UserError, match=r"data has no meaning: all of method.members are stored outputs"):
        take_run_of_members(config(*stored(tmp_path)), {"data"})


def test_runs_of_one_folder_name_are_told_apart(tmp_path):
    runs = [run_folder(tmp_path / name / "0") for name in ("first", "second")]
    assert [member.name for member in given_members(runs)] == ["first/0", "second/0"]


def test_a_cascade_of_a_front_is_a_member_of_its_run(tmp_path):
    """Its data, and the weights of the front; the same file of two runs of one folder name is told apart."""
    files = []
    for name in ("first", "second"):
        run_folder(tmp_path / name / "0", seed=7)
        files.append(tmp_path / name / "0" / "front" / "candidate_2.yaml")
        files[-1].parent.mkdir()
        files[-1].write_text("_target_: torch.nn.Identity\n")
        (files[-1].parent / "weights.pt").touch()
    made = config(*map(str, files))
    take_run_of_members(made, set())
    assert made.data.seed == 7
    members = given_members([str(file) for file in files])
    assert [member.name for member in members] == ["first/0/candidate_2", "second/0/candidate_2"]
    assert [member.weights for member in members] == [file.parent / "weights.pt" for file in files]
    with pytest.raises(UserError, match=r"architecture.yaml is no member: .* give the run folder"):
        given_members([str(tmp_path / "first" / "0" / "architecture.yaml")])


def networks_in(folder, *stems):
    folder.mkdir(exist_ok=True)
    for stem in stems:
        (folder / f"{stem}.yaml").write_text("_target_: torch.nn.Identity\n")
        (folder / f"{stem}.pt").touch()
    return folder


@pytest.mark.parametrize("inside", ["front", "subnets"])
def test_all_networks_of_a_folder_are_members_of_its_run(inside, tmp_path):
    """NAT and ENCAS-joint leave many sub-nets; a pool of them must be judged on the data that they were trained on."""
    runs = [run_folder(tmp_path / name, seed=5) for name in ("a", "b")]
    folders = [networks_in(tmp_path / name / inside, "net_2", "net_10") for name in ("a", "b")]
    members = given_members([str(folder) for folder in folders])
    assert [member.name for member in members] == ["a/net_2", "a/net_10", "b/net_2", "b/net_10"]
    assert members[1].weights == folders[0] / "net_10.pt"
    made = config(runs[0], str(folders[1]))
    take_run_of_members(made, set())
    assert made.data.seed == 5
    (one,) = given_members([str(folders[0] / "net_2.yaml")])
    assert (one.name, one.weights) == ("a/net_2", folders[0] / "net_2.pt")
    (folders[1] / "net_10.pt").unlink()
    with pytest.raises(UserError, match=r"net_10.yaml.* net_10.pt .*beside it"):
        given_members([str(folders[1])])


def test_fronts_of_jobs_that_are_named_by_a_relative_path_read_well(tmp_path, monkeypatch):
    """A pipeline names the folders of its earlier jobs by `../`; those of two pipelines are all called alike."""
    for sweep, job in (("first", "0"), ("first", "1"), ("second", "0")):
        networks_in(Path(run_folder(tmp_path / sweep / job)) / "front", "candidate_3")
    (tmp_path / "first" / "2").mkdir()
    monkeypatch.chdir(tmp_path / "first" / "2")
    assert [m.name for m in given_members(["../0/front", "../1/front"])] == ["0/candidate_3", "1/candidate_3"]
    members = given_members(["../0/front", "../1", "../../second/0/front"])
    assert [m.name for m in members] == ["first/0/candidate_3", "1", "second/0/candidate_3"]


def test_flat_outputs_are_split_where_the_config_says(tmp_path):
    values = {"labels": np.arange(4) % 2, "logits": np.eye(4, 2, dtype=np.float32), "macs": 5}
    np.savez(tmp_path / "a.npz", **values)
    (member,) = given_members([str(tmp_path / "a.npz")], 3)
    assert member.stored["validation"][1] == slice(None, 3)
    assert member.stored["test"][1] == slice(3, None)
    with pytest.raises(UserError, match=r"holds its samples in one set: give method.split"):
        given_members([str(tmp_path / "a.npz")])
    with pytest.raises(UserError, match=r"method.split=4 is not allowed: .*a.npz has 4 samples"):
        given_members([str(tmp_path / "a.npz")], 4)


def mapping(**more):
    return {"name": "a", "model": {"_target_": "torch.nn.Identity"}, "weights": "none.pt", **more}


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([], "method.members is empty"),
        ("run", "it must be a list of run folders, models or files"),
        (["nowhere"], r"method.members\[0\]=nowhere: there is no such run folder, file or pool"),
        ([3], r"method.members\[0\]=3 is not allowed; it must be a text"),
        ([mapping()], "member a: there are no weights at none.pt"),
        ([mapping(model=None)], r"method.members\[0\] has no model"),
        ([mapping(mac=3)], r"a key of method.members\[0\]='mac' is not known; did you mean 'macs'"),
    ],
)
def test_what_names_no_member_is_told(entries, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        given_members(entries)


def test_a_run_without_weights_and_one_member_twice_are_told(tmp_path):
    folder = run_folder(tmp_path / "a")
    with pytest.raises(UserError, match=r"/a is given twice: method.members\[0\] and \[1\]"):
        given_members([folder, folder])
    (tmp_path / "a" / "weights.pt").unlink()
    with pytest.raises(UserError, match=r"there are no weights at .*/a/weights.pt"):
        given_members([folder])


@pytest.mark.parametrize("inside", ["", "front"])
def test_weights_in_a_run_folder_are_of_that_run(inside, tmp_path):
    """Else other data, or another split, would go unseen where a model is given by its config."""
    runs = [run_folder(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 1))]
    weights = tmp_path / "b" / inside / "weights.pt"
    weights.parent.mkdir(exist_ok=True)
    weights.touch()
    with pytest.raises(UserError, match=r"member mine was trained with data.seed=1 and a with data.seed=0"):
        take_run_of_members(config(runs[0], mapping(name="mine", weights=str(weights))), set())


def test_members_of_other_data_are_told_by_its_name(tmp_path):
    odd = {"_recursive_": False, "_target_": "mine.Data", "a_key": 1}
    runs = [run_folder(tmp_path / "a"), run_folder(tmp_path / "b", name="mine", **odd)]
    with pytest.raises(UserError, match=r"member b was trained with data.name=mine and a with data.name=digits"):
        take_run_of_members(config(*runs), set())
    same = [run_folder(tmp_path / name, _recursive_=value) for name, value in (("c", True), ("d", False))]
    take_run_of_members(config(*same), set())


def test_parts_of_two_networks_are_told(tmp_path):
    (entry,) = stored(tmp_path)
    path = tmp_path / "test" / "m2.npz"
    values = dict(np.load(path))
    np.savez(path, **values | {"macs": 7})
    with pytest.raises(UserError, match=r"member m2 has .* MACs in .*m2.npz and 7 in .*m2.npz"):
        given_members([entry])


def test_a_part_that_lacks_a_member_is_told(tmp_path):
    (entry,) = stored(tmp_path)
    (tmp_path / "test" / "m2.npz").unlink()
    with pytest.raises(UserError, match="member m2: its test outputs are missing"):
        given_members([entry])
