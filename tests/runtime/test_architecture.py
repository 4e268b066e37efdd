"""What a search writes is what `architecture=` reads, and anything else is answered in a sentence."""

import pytest
import yaml
from omegaconf import OmegaConf

from src.errors import UserError
from src.runtime.architecture import load_architecture, save_architecture

CONFIG = {
    "_target_": "src.graph.resize.resized",
    "model": {"_target_": "src.networks.resnet.resnet20", "num_classes": 10, "init": "he"},
    "widths": {"stem": 18, "layer1.0.conv1": 22},
    "text": ["1e5", "yes", "null", ""],
    "numbers": [1e-5, 1.0, True, None],
}


def test_what_is_written_is_read_from_the_file_and_from_the_run_folder(tmp_path):
    save_architecture(tmp_path / "architecture.yaml", CONFIG)
    assert load_architecture(tmp_path / "architecture.yaml") == CONFIG
    assert load_architecture(str(tmp_path)) == CONFIG


def test_the_file_is_plain_yaml(tmp_path):
    save_architecture(tmp_path / "architecture.yaml", OmegaConf.create({**CONFIG, "again": "${widths.stem}"}))
    plain = yaml.safe_load((tmp_path / "architecture.yaml").read_text())
    assert plain["widths"] == CONFIG["widths"]
    assert plain["again"] == 18


def test_a_tuple_becomes_a_list_and_other_objects_are_refused_before_anything_is_written(tmp_path):
    save_architecture(tmp_path / "a.yaml", {"_target_": "a.b", "sizes": (1, 2)})
    assert load_architecture(tmp_path / "a.yaml")["sizes"] == [1, 2]
    with pytest.raises(TypeError, match=r"architecture\.widths\[0\] is a object"):
        save_architecture(tmp_path / "b.yaml", {"_target_": "a.b", "widths": [object()]})
    with pytest.raises(ValueError, match="_target_"):
        save_architecture(tmp_path / "b.yaml", {"widths": [1]})
    assert not (tmp_path / "b.yaml").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a: [1\nb: 2", "line 2"),
        ("- 1\n- 2", "a list, not a mapping"),
        ("hello", "it has no _target_, only hello"),
        ("3", "it is not a mapping"),
        ("", "it has no _target_, only nothing"),
        ("widths: 3", "it has no _target_, only widths"),
        ("_target_: ${nope}", "nope"),
        (b"\xff\xfe\x00\x81", "it is not a text file"),
    ],
)
def test_a_file_that_is_no_model_config_is_refused(tmp_path, content, told):
    path = tmp_path / "architecture.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        load_architecture(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_not_there_is_answered_with_the_nearest(tmp_path):
    (tmp_path / "12-00-00-conet").mkdir()
    with pytest.raises(UserError, match="there is no such file or run folder; did you mean '12-00-00-conet'"):
        load_architecture(tmp_path / "12-00-00-cone")


def test_folders_without_an_architecture_say_why(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        load_architecture(tmp_path)
    (tmp_path / ".hydra").mkdir()
    with pytest.raises(UserError, match="the search did not finish"):
        load_architecture(tmp_path)
    (tmp_path / "comparison.csv").touch()
    with pytest.raises(UserError, match=r"has ended without an architecture\.yaml: what it found cannot be run as one"):
        load_architecture(tmp_path)
    save_architecture(tmp_path / "0" / "architecture.yaml", CONFIG)
    with pytest.raises(UserError, match=f"several runs: give one of them, e.g. architecture={tmp_path}/0"):
        load_architecture(tmp_path)
