"""The table of methods: every suite of this folder runs over it. A new method joins with one row."""

from collections.abc import Callable
from dataclasses import dataclass

# a slice of real digits, with one thread, and nothing written that no suite looks at
SETTINGS = (
    "trainer.threads=1",
    "data.limit=320",
    "data.batch_size=32",
    "retrain.epochs=3",
    "retrain.repeats=1",
    "logger=csv",
    "export.formats=[]",
)
RESNET = ("model._target_=src.networks.resnet.ResNet", "+model.blocks=[1,1]", "+model.channels=[8,12]")
MOBILE = ("model=mobile_digits", "model.stem=[8,1]", "model.stages=[[8,1,1],[12,3,2],[16,2,2]]", "model.head=32")
ELASTIC = ("model=elastic_tiny", "model.space={family:tiny_images,stems:[8],lasts:[16]}")
CELLS = ("model=darts_digits", "model.channels=4", "method.space.nodes=2", "method.controls=[random]")
TINY = (*SETTINGS, *RESNET)


@dataclass(frozen=True)
class Method:
    """A search of a few seconds.

    Args:
        overrides: of `search.py`, beside `SETTINGS` and `model`.
        candidates: how many the search evaluates; None: it is not known beforehand.
        seconds: of a run on one free core, start of the process included; a run that takes ten times as long has hung.
        prepared: makes what the search needs, when it is first asked for; gives further overrides.
        model: overrides that make a tiny network that the method can search.
    """

    name: str
    overrides: tuple[str, ...]
    candidates: int | None
    seconds: float
    prepared: Callable[[], tuple[str, ...]] = tuple
    model: tuple[str, ...] = RESNET

    @property
    def command(self) -> list[str]:
        return ["search.py", *SETTINGS, *self.model, f"method={self.name}", *self.overrides, *self.prepared()]


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
    Method(
        "hournas",
        # both stages, and a pick among the likeliest and six others that meet the targets
        (
            *("method.stage1.epochs=2", "method.stage2.epochs=2", "method.arch.start_epoch=0", "method.tolerance=0.3"),
            *("method.proposal.steps=60", "method.proposal.proposals=3", "method.controls=[random_proposal]"),
            *("method.final.by=error", "method.final.samples=6", "method.calibration_images=64"),
            "method.space.operations=[ir_k3_e1,ir_k3_e3,ir_k3_e3_se,ir_k5_e3]",
        ),
        candidates=4 + 7,
        seconds=10,
        model=MOBILE,
    ),
    Method(
        "vinnas",
        # so strong and so fast that operations are dropped within these epochs
        (
            *("method.epochs=4", "method.structure.gamma=0.1", "method.structure.lr_log_sigma2=0.3"),
            *("method.structure.warmup=0.25", "method.structure.ramp=0.25", "method.weights.warmup=0.25"),
            "method.space.operations=[max_pool_3x3,skip_connect,sep_conv_3x3]",
        ),
        candidates=4,
        seconds=12,
        model=CELLS,
    ),
    Method(
        "darts",
        ("method.epochs=4", "method.arch.lr=0.1", "method.space.operations=[none,skip_connect,sep_conv_3x3]"),
        candidates=4,
        seconds=10,
        model=CELLS,
    ),
    Method(
        "nat",
        # a warm-up that is longer than an iteration, a first archive and two proposed ones, and averaged weights
        (
            *("method.warmup_epochs=2", "method.iterations=2", "method.epochs=1", "method.swa_iterations=2"),
            *("method.doe=6", "method.archive=5", "method.calibration_images=64", "method.population=10"),
            *("method.surrogate_members=20", "method.surrogate_evaluations=200", "method.sampling=marginals"),
        ),
        candidates=None,
        seconds=8,
        model=ELASTIC,
    ),
    Method(
        "encas_joint",
        (
            *("method.warmup_epochs=1", "method.iterations=1", "method.epochs=1", "method.swa_iterations=0"),
            *("method.doe=6", "method.archive=5", "method.calibration_images=64"),
            *("method.surrogate_members=20", "method.surrogate_evaluations=200"),
        ),
        candidates=None,  # cascades, and single sub-nets that are on the front
        seconds=10,
        model=(),
    ),
]
