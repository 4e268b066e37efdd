"""A run in this process up to its first training batch: how far a config comes, and where it is refused."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

import search
import train
from src.data import digits
from src.methods.cafenet import CafeNet
from src.methods.cell_search import CellSearch
from src.methods.encas import ENCAS
from src.methods.operation_search import OperationSearch
from src.methods.search_module import SearchModule
from src.methods.subnet_training import SubnetTraining
from src.methods.training_module import TrainingModule

CONF = Path(__file__).parents[1] / "conf"
SCRIPTS = {"search": search.search, "train": train.train}
SMALL = ("trainer=cpu", "trainer.threads=1", "logger=none", "data.limit=80", "data.batch_size=20")
RESNET = ("model._target_=src.networks.resnet.ResNet", "+model.blocks=[1,1]", "+model.channels=[8,12]")


class Trained(Exception):
    """A training has begun: whatever is wrong with the config was not found in time."""


def composed(script: str, *overrides: str) -> DictConfig:
    """The config of a small run, with Hydra's own node; its model is a tiny residual network, unless one is given."""
    model = () if any(word.startswith("model=") for word in overrides) else RESNET
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(script, [*SMALL, *model, *overrides], return_hydra_config=True)


def changed(config: DictConfig, key: str, value) -> DictConfig:
    """A copy of `config` with another value at `key`, of any type."""
    copy = config.copy()
    with read_write(copy), open_dict(copy):
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(copy, parent) if parent else copy
        OmegaConf.set_struct(copy, False)
        node[name] = value
    return copy


def begin(script: str, config: DictConfig, folder: Path, searched: bool = False, given: Sequence[str] = ()) -> None:
    """Runs `script` until a training begins, which raises `Trained`.

    searched: the search is taken to have ended, so that the training is that of the base network; what is refused only
        then would have been refused after hours.
    """
    config = config.copy()
    with read_write(config), open_dict(config):
        config.hydra.runtime.output_dir = str(folder)
        config.hydra.overrides.task = list(given)
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    HydraConfig.instance().set_config(config)
    with read_write(config), open_dict(config):
        del config["hydra"]
    try:
        with (
            patch.object(TrainingModule, "training_step", _begun),
            patch.object(CafeNet, "training_step", _begun),
            patch.object(OperationSearch, "training_step", _begun_with_a_path),
            patch.object(CellSearch, "training_step", _begun_with_gates),
            patch.object(SubnetTraining, "training_step", _begun_with_a_subnet),
            patch.object(ENCAS, "store", _stored),
            patch.object(digits, "load_digits", _kept),
        ):
            if searched:
                with patch.object(SearchModule, "search", lambda *arguments: None):
                    SCRIPTS[script](config)
            else:
                SCRIPTS[script](config)
    finally:
        HydraConfig.instance().cfg = None


def _begun(module: TrainingModule, batch, index: int) -> None:
    images, targets = batch
    module.task.loss(module(images), targets)  # the network and the task fit together, or say why not
    raise Trained


def _begun_with_a_path(module: OperationSearch, batch, index: int) -> None:
    images, targets = batch
    module.task.loss(module(images, *module.drawn(index)), targets)
    raise Trained


def _begun_with_gates(module: CellSearch, batch, index: int) -> None:
    images, targets = batch
    module.task.loss(module(images, *module.gate_values(len(images))), targets)
    raise Trained


def _begun_with_a_subnet(module: SubnetTraining, batch, index: int) -> None:
    images, targets = batch
    module.task.loss(module(images, *module.call_of(*module.trained_subnet(index))), targets)
    raise Trained


def _stored(*arguments) -> None:
    """A search of cascades trains nothing: its first work is to run the members."""
    raise Trained


_bunch = digits.load_digits()


def _kept():
    return _bunch


def leaves(config: DictConfig) -> Iterator[str]:
    """Every key below Hydra's groups and beside them, nodes too, as dotted paths; `hydra` is left out."""
    plain = OmegaConf.to_container(config, resolve=False)
    del plain["hydra"]
    waiting = [(name, value, True) for name, value in plain.items()]
    while waiting:
        key, value, top = waiting.pop(0)
        if not isinstance(value, dict) or not top:
            yield key
        if isinstance(value, dict):
            waiting += [(f"{key}.{name}", inner, False) for name, inner in value.items()]
