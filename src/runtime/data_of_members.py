"""The data that the runs of members were on: the same for all, so that none is judged by images it was trained on."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from src.cascades.imported import PARTS, read_outputs
from src.errors import UserError
from src.runtime.architecture import RESOLVED
from src.runtime.members import GivenMember, given_members

# What of the data may differ between the runs of two members: it changes no image that they are judged by, no split.
MAY_DIFFER = ("root", "download", "batch_size", "eval_batch_size", "num_workers", "augment")


def take_run_of_members(config: DictConfig, given: set[str]) -> None:
    """Takes the data of the runs that members are from, or a stand-in where no member is a network.

    given: the keys of the command line.

    Raises:
        UserError: a member is from a run on other data, or other data is asked for: its validation images would be
            among those that the member was trained on.
    """
    method = OmegaConf.to_container(config.method, resolve=True)
    members = given_members(method["members"], method.get("split"))
    runs = [member for member in members if member.run is not None and (member.run / RESOLVED).is_file()]
    asked = sorted(key for key in given if key.split(".")[0] in ("data", "experiment"))
    if all(member.config is None for member in members):
        if asked:
            raise UserError(f"{asked[0]} has no meaning: all of method.members are stored outputs; leave it out")
        data: Any = {"_target_": "src.data.no_images.NoImages", "num_classes": _classes(members[0])}
    elif runs:
        data = _data_of_runs(runs)
        _check_asked(config, data, asked, runs[0])
    else:
        return
    with open_dict(config):
        config.data = data


def _classes(member: GivenMember) -> int:
    path, _ = member.stored[PARTS[0]]
    return read_outputs(path, member.name).softmax.shape[1]


def _data_of_runs(runs: Sequence[GivenMember]) -> DictConfig:
    first = OmegaConf.load(runs[0].run / RESOLVED).data
    for member in runs[1:]:
        theirs = OmegaConf.load(member.run / RESOLVED).data
        keys = {key for key in {*first, *theirs} - set(MAY_DIFFER) if key == "_target_" or not key.startswith("_")}
        for key in sorted(keys, key=lambda key: (key != "name", key == "_target_", key)):  # the name says most
            if first.get(key) != theirs.get(key):
                raise UserError(
                    f"member {member.name} was trained with data.{key}={theirs.get(key)} and {runs[0].name} with "
                    f"data.{key}={first.get(key)}: all must have the same images and the same split, so that none is "
                    f"judged by images that it was trained on"
                )
    return first


def _check_asked(config: DictConfig, data: DictConfig, asked: Sequence[str], first: GivenMember) -> None:
    for key in asked:
        name = key.removeprefix("data.")
        if key in ("data", "experiment"):
            if config.data.get("name") != data.get("name"):
                raise UserError(
                    f"data={config.data.get('name')}: member {first.name} was trained on data={data.get('name')}; "
                    "leave data out"
                )
            continue
        value = OmegaConf.select(config, key)
        if name.split(".")[0] in MAY_DIFFER:
            OmegaConf.update(data, name, value, force_add=True)
        elif OmegaConf.select(data, name) != value:
            raise UserError(
                f"{key}={value}: member {first.name} was trained with {key}={OmegaConf.select(data, name)}, and "
                f"members must be judged by images that they have not seen: leave {key} out"
            )
