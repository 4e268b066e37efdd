"""The table of methods: every suite of this folder runs over it. A new method joins with one row."""

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
        candidates: how many the search evaluates.
        seconds: of a run on one free core, start of the process included; a run that takes ten times as long has hung.
    """

    name: str
    overrides: tuple[str, ...]
    candidates: int
    seconds: float

    @property
    def command(self) -> list[str]:
        return ["search.py", *TINY, f"method={self.name}", *self.overrides]


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
]
