"""Composes the repository's own config groups under a small primary config."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture
def composed(tmp_path):
    """Gives a function from overrides to the config of the trainer, logger and debug groups."""
    (tmp_path / "primary").mkdir()
    (tmp_path / "primary" / "job.yaml").write_text(
        f"defaults: [_self_, {{trainer: auto}}, {{logger: all}}, {{debug: null}}]\n"
        f"hydra: {{searchpath: ['file://{CONF}']}}\n"
    )

    def config(*overrides):
        with initialize_config_dir(str(tmp_path / "primary"), version_base="1.3"):
            return compose("job", list(overrides))

    return config
