"""What a user sees of a command that fails: real processes, because exit codes and streams are the point."""

import pytest
from command_tree import run, write_tree


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"))


def test_a_good_command_runs_from_any_folder(command, tmp_path):
    done = run(command, "seed=3", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran conet-3\n", "")
    assert (tmp_path / "outputs/run/.hydra/config.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["dleta=1"], "error: the config has no key 'dleta'; did you mean 'method.delta'?"),
        (["hydra.run.dir={here}/file/run"], "error: the output folder {here}/file/run cannot be made: {here}/file is"),
        (["-m", "model=resnet20,resnt32"], "error: model=resnt32 is not known; did you mean 'resnet32' or 'resnet20'?"),
    ],
)
def test_a_mistake_in_the_command_line_is_one_sentence_and_leaves_no_folder(command, tmp_path, arguments, told):
    (tmp_path / "file").write_text("")
    done = run(command, *(argument.format(here=tmp_path) for argument in arguments), folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(told.format(here=tmp_path))
    assert done.stderr.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_user_error_of_the_task_is_one_sentence(command, tmp_path):
    done = run(command, "mode=user", folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: the width bound is empty\n")


def test_a_full_disk_is_one_sentence(command, tmp_path):
    done = run(command, "mode=disk", folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: cannot use weights.pt: the disk is full\n")


def test_a_folder_that_only_the_system_refuses_is_one_sentence(command, tmp_path):
    done = run(command, "hydra.run.dir=/proc/no_such_folder", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "/proc/no_such_folder" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_defect_of_ours_keeps_its_trace(command, tmp_path):
    done = run(command, "mode=defect", folder=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("KeyError: 'ours'\n")


def test_an_interrupt_is_one_line(command, tmp_path):
    done = run(command, "mode=interrupt", folder=tmp_path)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_user_who_asks_for_traces_gets_them(command, tmp_path):
    done = run(command, "mode=user", folder=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("error: the width bound is empty\n")


def test_processes_of_the_task_do_not_inherit_our_switch(command, tmp_path):
    done = run(command, "mode=environment", folder=tmp_path)
    assert done.stdout == "ran conet-0\nFalse\n"


def test_the_start_folder_can_be_imported_from(command, tmp_path):
    (tmp_path / "my_package.py").write_text("GREETING = 'found'\n")
    done = run(command, "mode=own", folder=tmp_path)
    assert done.stdout == "ran conet-0\nfound\n"


@pytest.mark.parametrize(("option", "shown"), [("--help", "method: conet, random"), ("--cfg=job", "  delta: 0.1")])
def test_hydras_own_options_work(command, tmp_path, option, shown):
    done = run(command, option, folder=tmp_path)
    assert done.returncode == 0
    assert shown in done.stdout
    assert not list(tmp_path.iterdir())
