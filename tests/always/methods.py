"""The table of methods: every suite of this folder runs over it. A new method joins with one row."""

from collections.abc import Callable
from dataclasses import dataclass

# a tiny network on a slice of real digits, with one thread, and nothing written that no suite looks at
TINY = (
    "trainer.threads=1",
    "data.limit=320",
    "data.batch_size=32",
    "model._target_=src.networks.resnet.ResNet",
    "+model.blocks=[1,1]",
    "+model.channels=[8,12]",
    "retrain.epochs=3",
    "retrain.repeats=1",
    "logger=csv",
    "export.formats=[]",
)


@dataclass(frozen=True)
class Method:
    """A search of a few seconds.

    Args:
        overrides: of `search.py`, beside `TINY`.
        candidates: how many the search evaluates; None: it is not known beforehand.
        seconds: of a run on one free core, start of the process included; a run that takes ten times as long has hung.
        prepared: makes what the search needs, when it is first asked for; gives further overrides.
    """

    name: str
    overrides: tuple[str, ...]
    candidates: int | None
    seconds: float
    prepared: Callable[[], tuple[str, ...]] = tuple

    @property
    def command(self) -> list[str]:
        return ["search.py", *TINY, f"method={self.name}", *self.overrides, *self.prepared()]


def _members() -> tuple[str, ...]:
    """Three networks that know the digits a little, as files."""
    from tests.cascading import networks

    def flow(value) -> str:
        if isinstance(value, dict):
            return "{" + ",".join(f"{key}:{flow(item)}" for key, item in value.items()) + "}"
        return "[" + ",".join(map(flow, value)) + "]" if isinstance(value, list) else str(value)

    return (f"method.members={flow(networks())}",)


METHODS = [
    Method(
        "conet",
        # four trials that are all done, with widths that move
        ("method.trials=4", "method.epochs_per_trial=2", "method.patience=0", "method.delta=0.002"),
        candidates=4,
        seconds=8,
    ),
    Method("random", ("method.trials=4", "method.epochs_per_trial=2"), candidates=4, seconds=8),
    Method(
        "cafenet",
        (
            *("method.epochs=4", "method.evaluations=24", "method.population=8", "method.max_macs=0.6"),
            *("method.bin_rule=uniform", "method.bins_per_group=4"),
        ),
        candidates=24,
        seconds=10,
    ),
    Method(
        "encas",
        ("method.slots=3", "method.evaluations=3000", "method.searcher=random"),
        candidates=None,
        seconds=10,
        prepared=_members,
    ),
]
