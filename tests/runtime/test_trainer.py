"""The trainer presets hold what Lightning takes, mistakes in them are sentences, and a fit prints nothing."""

import logging
import warnings

import pytest
import pytorch_lightning as pl
import torch
from command_tree import run
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from torch.utils.data import DataLoader, TensorDataset

from src.errors import UserError
from src.runtime.ranks.strategy import RanksStrategy
from src.runtime.trainer import MODULE_OPTIONS, make_trainer, quieten, threads_for


class Small(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def training_step(self, batch, index):
        loss = self.layer(batch[0]).square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("error", self.layer(batch[0]).mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture(autouse=True)
def process_state():
    """Threads and determinism belong to the process: other tests should find them as they were."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_lightning_says_nothing_in_a_fit(composed, tmp_path, caplog, precision):
    data = DataLoader(TensorDataset(torch.randn(6, 4)), batch_size=2)
    (tmp_path / "file").write_text("a folder for checkpoints that is not empty")
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.INFO):
        warnings.simplefilter("always")
        config = composed("trainer=auto").trainer
        trainer = make_trainer(config, [ModelCheckpoint(tmp_path)], max_epochs=1, precision=precision)
        trainer.fit(Small(), data, data)
    assert trainer.global_step == 3
    assert [record.message for record in caplog.records if "lightning" in record.name] == []
    assert [str(warning.message) for warning in warned] == []


def test_what_lightning_says_of_devices_is_dropped_and_the_rest_is_kept(caplog):
    quieten()
    with caplog.at_level(logging.INFO):
        logging.getLogger("pytorch_lightning.accelerators.cuda").info("LOCAL_RANK: 0 - CUDA_VISIBLE_DEVICES: [0]")
        logging.getLogger("lightning_fabric.utilities.distributed").info("Initializing distributed: GLOBAL_RANK: 0")
        logging.getLogger("pytorch_lightning.utilities.rank_zero").info("Restoring states from the checkpoint")
    assert [record.message for record in caplog.records] == ["Restoring states from the checkpoint"]


def test_lightnings_other_warnings_stay(composed):
    data = DataLoader(TensorDataset(torch.randn(6, 4)), batch_size=2)
    module = Small()
    module.training_step = lambda batch: None
    trainer = make_trainer(composed("trainer=cpu").trainer, max_epochs=1)
    with pytest.warns(UserWarning, match="`training_step` returned `None`"):
        trainer.fit(module, data)


def test_nothing_is_drawn_or_saved_unless_a_callback_does(composed):
    plain = make_trainer(composed().trainer)
    assert not plain.progress_bar_callback
    assert not plain.checkpoint_callbacks
    assert plain.loggers == []
    full = make_trainer(composed().trainer, [RichProgressBar(), ModelCheckpoint()])
    assert isinstance(full.progress_bar_callback, RichProgressBar)
    assert len(full.checkpoint_callbacks) == 1


@pytest.mark.parametrize("name", ["auto", "cpu", "ddp"])
def test_the_presets_make_a_trainer_that_overrides_can_change(composed, name):
    trainer = make_trainer(composed(f"trainer={name}", "trainer.accelerator=cpu").trainer, max_epochs=7, devices=1)
    assert trainer.max_epochs == 7
    assert isinstance(trainer.strategy, RanksStrategy) == (name == "ddp")
    assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_two_processes_on_the_cpu_are_a_matter_of_two_options(composed):
    config = composed("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2").trainer
    assert make_trainer(config).world_size == 2


def test_ddp_is_told_whether_parameters_may_lack_a_gradient(composed):
    """A method that skips paths would raise in its second step without it, and all others would pay for it."""
    config = composed("trainer=ddp_cpu").trainer
    for declared in (False, True):
        trainer = make_trainer(config, unused_parameters=declared)
        assert trainer.strategy._ddp_kwargs["find_unused_parameters"] is declared


def test_options_of_the_module_and_the_process_do_not_reach_lightning(composed):
    config = composed("trainer=cpu", "trainer.compile=true", "trainer.channels_last=true", "trainer.threads=1").trainer
    assert set(MODULE_OPTIONS) < set(config)
    make_trainer(config)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"precison": "32-true"}, "trainer has no option 'precison'; did you mean 'precision'"),
        ({"precision": "bf16mixed"}, "trainer.precision='bf16mixed' is not known; did you mean 'bf16-mixed'"),
        ({"compile": "yes"}, "trainer.compile='yes' is not allowed; it must be true or false"),
        ({"threads": 0}, "trainer.threads=0 must be a whole number"),
        ({"deterministic": "yes"}, "trainer.deterministic='yes' must be"),
        ({"strategy": "dpp"}, "trainer: .*'dpp'"),
        ({"accelerator": "cpu", "devices": 0}, "trainer.devices=0 is not allowed; it must be a number of devices"),
        ({"accelerator": "tpus"}, "trainer: .*'tpus'"),
        ({"limit_train_batches": 1.5}, "trainer.limit_train_batches=1.5 is not allowed"),
    ],
)
def test_mistakes_are_one_sentence(composed, overrides, told):
    with pytest.raises(UserError, match=told) as caught:
        make_trainer(composed().trainer, **overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence(composed):
    with pytest.raises(UserError, match="there is no GPU that torch can use: give trainer=auto or trainer=cpu"):
        make_trainer(composed("trainer=gpu").trainer)


def test_debugging_composes_over_the_other_groups(composed):
    config = composed("debug=default")
    trainer = make_trainer(config.trainer, accelerator="cpu")
    assert trainer._detect_anomaly
    assert trainer.limit_train_batches == 3
    assert not config.logger.wandb
    assert config.logger.csv


DISTRIBUTED = """
import os
import torch
import pytorch_lightning as pl
from torch.utils.data import DataLoader, TensorDataset
from src.errors import UserError
from src.runtime.launch import launch
from src.runtime.trainer import make_trainer

class Small(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
    def training_step(self, batch, index):
        return self.layer(batch[0]).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)
    def on_fit_end(self):
        # one write a line: the ranks share a pipe, and print writes the end of a line by itself
        os.write(1, f"rank {self.global_rank} of {self.trainer.world_size}\\n".encode())

def job(config):
    data = DataLoader(TensorDataset(torch.randn(8, 4)), batch_size=2)
    for _ in range(2):
        make_trainer(config.trainer, max_epochs=1).fit(Small(), data)

if __name__ == "__main__":
    launch(job, "job", CONFIG)
"""


@pytest.mark.slow
def test_two_ranks_start_from_one_command_and_say_nothing_of_their_own(composed, tmp_path):
    (tmp_path / "command.py").write_text(DISTRIBUTED.replace("CONFIG)", f"{str(tmp_path / 'primary')!r})"))
    arguments = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "hydra.run.dir=run"]
    done = run(tmp_path / "command.py", *arguments, folder=tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["rank 0 of 2"] * 2 + ["rank 1 of 2"] * 2
    assert done.stderr == ""


def test_small_batches_get_one_thread_and_others_what_torch_chooses():
    """The main job's batches are small: with two threads and a busy core they took minutes instead of seconds."""
    assert threads_for(64, (1, 8, 8)) == 1
    assert threads_for(128, (3, 32, 32)) is None
