"""Real keys and choices with one letter wrong: each is refused in one sentence, and that names the right one."""

import functools
import random
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from src.errors import UserError
from src.runtime.build import build
from src.runtime.command_line import CommandLine, check_command_line
from src.runtime.key_names import known_keys
from src.runtime.targets import locate, parameters

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
SCRIPTS = {"search": ("data", "model", "method", "optimizer", "scheduler", "trainer", "logger", "callbacks"),
           "train": ("data", "model", "optimizer", "scheduler", "trainer", "logger")}  # fmt: skip
LETTERS = string.ascii_lowercase + string.digits + "_"


def choices(group: str) -> list[str]:
    names = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    return [name for name in names if name != "train"] if group == "callbacks" else names


def misspelt(word: str, rng: random.Random) -> str:
    """`word` with one letter changed, left out or put in, or two neighbours that have changed places."""
    while True:
        at, letter, kind = rng.randrange(len(word)), rng.choice(LETTERS), rng.randrange(4)
        tail = (letter + word[at + 1 :], word[at + 1 :], letter + word[at:], word[at : at + 2][::-1] + word[at + 2 :])
        found = word[:at] + tail[kind]
        if found != word and not found.startswith(".") and not found.endswith("."):
            return found


def composed(script: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(script, list(overrides))


def spelled(value) -> str:
    """A plain value as the command line takes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(spelled, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"'{value}'" if isinstance(value, str) else str(value)


@functools.cache
def settings(script: str, chosen: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """All keys of the config with these choices, and the value of each as the command line takes it."""
    config = composed(script, *chosen)
    values = {}
    for key in known_keys(config):
        parent, _, name = key.rpartition(".")
        raw = OmegaConf.to_container(OmegaConf.select(config, parent) if parent else config, resolve=False)[name]
        values[key] = "1" if raw == "???" else spelled(raw)
    return list(values), values


def misspelt_keys(count: int, seed: int) -> Iterator[tuple[str, list[str], str]]:
    """(script, arguments, right key)."""
    rng = random.Random(seed)
    variants = []
    for script in sorted(SCRIPTS):
        groups = [rng.sample(SCRIPTS[script], 2) for _ in range(10)]
        variants += [(script, tuple(f"{group}={rng.choice(choices(group))}" for group in pair)) for pair in groups]
    while count:
        script, chosen = rng.choice(variants)
        keys, values = settings(script, chosen)
        key = rng.choice(keys)
        wrong = misspelt(key, rng)
        if wrong not in {*keys, *SCRIPTS["search"], "experiment", "sweep", "debug", "task"}:
            count -= 1
            yield script, [*chosen, f"{wrong}={values[key]}"], key


def misspelt_choices(count: int, seed: int) -> Iterator[tuple[str, list[str], str]]:
    """(script, arguments, right choice)."""
    rng = random.Random(seed)
    while count:
        script = rng.choice(sorted(SCRIPTS))
        group = rng.choice([*SCRIPTS[script], *(["experiment", "sweep", "debug"] if script == "search" else [])])
        right = rng.choice(choices(group))
        wrong = misspelt(right, rng)
        if wrong not in choices(group):
            count -= 1
            yield script, [f"{group}={wrong}"], right


def refusals(cases, monkeypatch) -> tuple[list, list]:
    """The cases that were let pass, and those whose sentence does not name what was meant."""
    passed, unnamed = [], []
    for script, arguments, right in cases:
        monkeypatch.setattr("sys.argv", [f"{script}.py", *arguments])
        try:
            check_command_line(str(CONF), script)
        except UserError as error:
            if f"'{right}'" not in str(error) or "\n" in str(error):
                unnamed.append((arguments[-1], right, str(error)))
        else:
            passed.append(arguments)
    return passed, unnamed


@pytest.fixture
def composed_once(monkeypatch):
    """What keys there are depends on the choices alone: for 200 lines with the same few it is composed once each."""
    found, known = {}, CommandLine.known

    def known_once(line: CommandLine) -> DictConfig:
        chosen = (line.config_name, *(o.input_line for o in line.overrides if line.is_group(o.key_or_group)))
        if chosen not in found:
            found[chosen] = known(line)
        return found[chosen]

    monkeypatch.setattr(CommandLine, "known", known_once)


@pytest.mark.slow
@pytest.mark.usefixtures("composed_once")
def test_two_hundred_misspelt_keys_are_refused_and_the_right_one_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    passed, unnamed = refusals(misspelt_keys(200, seed=0), monkeypatch)
    assert not passed
    assert len(unnamed) <= 2, unnamed
    assert not list(tmp_path.iterdir())


def test_misspelt_choices_are_refused_and_the_right_one_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    passed, unnamed = refusals(misspelt_choices(100, seed=0), monkeypatch)
    assert not passed
    assert len(unnamed) <= 1, unnamed


# What a constructor takes beyond the config: `+model.blocks=...`. The constructor's own names are the right ones.
FREE = [
    ({"_target_": "src.networks.resnet.ResNet", "num_classes": 10}, "src.networks.resnet.ResNet"),
    ({"_target_": "src.networks.resnet.resnet20", "num_classes": 10}, "src.networks.resnet.ResNet"),
    ({"_target_": "torchvision.models.get_model", "name": "resnet18"}, "torchvision.models.resnet.ResNet"),
    ({"_target_": "timm.create_model", "model_name": "resnet18d"}, "timm.models.resnet.ResNet"),
    ({"_target_": "torch.optim.SGD", "_partial_": True}, "torch.optim.SGD"),
    ({"_target_": "torch.optim.AdamW", "_partial_": True}, "torch.optim.AdamW"),
    ({"_target_": "src.runtime.schedules.cosine", "_partial_": True}, "src.runtime.schedules.cosine"),
    ({"_target_": "torch.optim.lr_scheduler.StepLR", "_partial_": True}, "torch.optim.lr_scheduler.StepLR"),
    ({"_target_": "src.tasks.classification.Classification"}, "src.tasks.classification.Classification"),
    ({"_target_": "src.data.digits.DigitsData", "name": "digits"}, "src.data.image_data.ImageData"),
    ({"_target_": "src.data.image_folder.ImageFolderData", "root": "x"}, "src.data.image_folder.ImageFolderData"),
    ({"_target_": "callbacks.pareto_report.ParetoReport", "folder": "x"}, "callbacks.pareto_report.ParetoReport"),
    ({"_target_": "callbacks.search_progress.SearchProgress"}, "callbacks.search_progress.SearchProgress"),
    ({"_target_": "pytorch_lightning.callbacks.ModelCheckpoint"}, "pytorch_lightning.callbacks.ModelCheckpoint"),
]


def misspelt_arguments(count: int, seed: int) -> Iterator[tuple[dict, str, str]]:
    """(node with a wrong argument, the right one, the wrong one)."""
    rng = random.Random(seed)
    while count:
        node, owner = rng.choice(FREE)
        allowed = parameters(locate(owner, "owner"))[0]
        right = rng.choice(sorted(allowed - {"self", "params", "optimizer", "kwargs", "block", "layers"}))
        wrong = misspelt(right, rng)
        if wrong not in allowed and wrong.isidentifier():
            count -= 1
            yield {**node, wrong: 1}, right, wrong


def test_a_misspelt_argument_of_a_constructor_is_refused_and_the_right_one_is_named():
    """`+optimizer.nesterovv=true` passes the check of the command line: only the constructor knows its arguments."""
    unnamed = []
    for node, right, wrong in misspelt_arguments(200, seed=0):
        with pytest.raises(UserError) as caught:
            build(node, "node")
        if f"'{right}'" not in str(caught.value):
            unnamed.append((wrong, right, str(caught.value)))
    assert len(unnamed) <= 2, unnamed


@pytest.mark.parametrize(
    ("script", "arguments", "right"),
    [
        ("search.py", ["method.dleta=0.1"], "method.delta"),
        ("search.py", ["data=cifr10"], "cifar10"),
        ("train.py", ["+epoch=3"], "epochs"),
        ("search.py", ["trainer=cpu", "+model.blcks=[1,1]", "model._target_=src.networks.resnet.ResNet"], "blocks"),
        ("train.py", ["trainer=cpu", "+optimizer.nestrov=true", "logger=none"], "nesterov"),
    ],
)
def test_a_misspelling_ends_the_command_before_anything_is_trained(script, arguments, right, tmp_path):
    command = [sys.executable, str(ROOT / script), *arguments, f"hydra.run.dir={tmp_path}/run"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert f"'{right}'" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["optimizer={lr: 0.1, momntum: 0.9}"], "no key 'optimizer.momntum'; did you mean 'optimizer.momentum'?"),
        (["+method.dleta=1"], "nothing reads a new key 'method.dleta'; did you mean 'method.delta'?"),
        (["+callbacks.run_checkpont.monitor=x"], "did you mean 'callbacks.run_checkpoint'?"),
        (["retrain.optimizer.lrr=1"], "retrain.optimizer is a copy of optimizer: did you mean 'optimizer.lr'?"),
        (["+retrain.optimizer.lr=1"], "retrain.optimizer is a copy of optimizer: did you mean 'optimizer.lr'?"),
    ],
)
def test_a_name_inside_another_node_is_answered_where_it_belongs(arguments, told, monkeypatch):
    monkeypatch.setattr("sys.argv", ["search.py", *arguments])
    with pytest.raises(UserError) as caught:
        check_command_line(str(CONF), "search")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["+callbacks.mine._target_=a.B", "+callbacks.mine.x=1"],
        ["retrain.optimizer={_target_: torch.optim.SGD, lr: 0.1}", "+retrain.optimizer.momentum=0.9"],
        ["+method.module.more=1"],
    ],
)
def test_a_new_node_that_says_its_class_passes(arguments, monkeypatch):
    monkeypatch.setattr("sys.argv", ["search.py", *arguments])
    check_command_line(str(CONF), "search")
