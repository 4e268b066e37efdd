"""A cascade of trained classifiers: easy images leave early, the others go on to the next network.

The cascade of ENCAS; its rule stands in `src.networks.cascade_rule`. As a model config:

    _target_: src.networks.cascade.Cascade
    members: [<model config>, <model config>, ...]
    thresholds: [0.9, ...]          # one between each two members
"""

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from src.errors import UserError, check_range, check_text
from src.networks.cascade_export import ROUTES, exportable_forward
from src.networks.cascade_rule import half_softmax, log_means, mean, undecided

NOT_TRAINED = (
    "a cascade is not trained: train each of its members, and test the cascade with its weights by "
    "architecture=<its run folder, or file in front/> test_only=true"
)


class Cascade(nn.Module):
    """Members one after the other, each for the images that those before it leave open: (B, C, H, W) -> (B, classes).

    Args:
        members: classifiers of the same classes, in their order; a cascade may be one of them.
        thresholds: one between each two neighbours, from 0 (all images leave) to 1 (none does: an ensemble); used as
            float32 numbers.
        names: of the members, for messages.
        macs: multiply-accumulates of each member for one image; None, or an entry that is None: not known, see
            `src.networks.cascade_macs.fill_macs`. That of a member which is a cascade is measured and not read here.

    Gives log q, float32, so that its argmax is the cascade's class, and its softmax the cascade's probabilities.
    `reached` counts the images that each member has seen since `reset_counts`. It counts on one process: under DDP add
    up `counts()` of all ranks and hand the sum to `average_macs`.

    Raises `UserError` for arguments that do not fit together, and for a forward pass in training mode.
    """

    def __init__(
        self,
        members: Sequence[nn.Module],
        thresholds: Sequence[float],
        names: Sequence[str] | None = None,
        macs: Sequence[float | None] | None = None,
    ) -> None:
        super().__init__()
        count = _count_of("members", members)
        if not count:
            raise UserError("model.members is empty: a cascade needs at least one member")
        for index, member in enumerate(members):
            if not isinstance(member, nn.Module):
                raise UserError(f"model.members[{index}]={member!r} is no network: give a model config with a _target_")
        _check_count("thresholds", thresholds, count - 1, count)
        for name, values in {"names": names, "macs": macs}.items():
            if values is not None:
                _check_count(name, values, count, count)
        for index, threshold in enumerate(thresholds):
            check_range(f"model.thresholds[{index}]", threshold, 0.0, 1.0)
        self.members = nn.ModuleList(members)
        self.thresholds = torch.tensor(list(thresholds), dtype=torch.float32).tolist()  # exactly what is compared with
        self.names = [check_text(f"model.names[{i}]", name) for i, name in enumerate(names or ())]
        self.names = self.names or [f"member {number}" for number in range(1, count + 1)]
        for index, value in enumerate(macs or ()):
            if value is not None:
                check_range(f"model.macs[{index}]", value, 0.0)
        self.macs = list(macs) if macs is not None else [None] * count
        self.reached = [0] * count
        self.image_macs: Tensor | None = None  # of each image of the last batch, float64 (B,), where `tells_macs`
        self.tells_macs = False
        self.export_route: str | None = None  # see `src.networks.cascade_export`

    def extra_repr(self) -> str:
        return f"names={self.names}, thresholds={[round(threshold, 6) for threshold in self.thresholds]}"

    def forward(self, images: Tensor) -> Tensor:
        """log q of each image; only those that are undecided by then are given to the next member."""
        if isinstance(images, fx.Proxy):
            raise UserError("a cascade has no widths of its own: give the model config of one of its members")
        if self.training:
            raise UserError(NOT_TRAINED)
        if self.export_route or torch.compiler.is_exporting():
            return exportable_forward(self, images, self.export_route or ROUTES[0])
        total = self.probabilities(0, images).double()
        answers = current = mean(total, 1)
        self.reached[0] += len(images)
        rows = torch.arange(len(images), device=images.device)
        spent = self._macs_of(0, images) if self.tells_macs else None
        for stage, threshold in enumerate(self.thresholds, start=1):
            going_on = undecided(current, threshold).nonzero()[:, 0]
            if not len(going_on):
                break
            if len(going_on) < len(rows):
                rows, images, total = rows[going_on], images[going_on], total[going_on]
            self.reached[stage] += len(rows)
            total = total + self._like(total, self.probabilities(stage, images), stage)
            if spent is not None:
                spent = spent.index_add(0, rows, self._macs_of(stage, images))
            current = mean(total, stage + 1)
            answers = answers.index_copy(0, rows, current)
        self.image_macs = spent
        return log_means(answers)

    def _macs_of(self, index: int, images: Tensor) -> Tensor:
        """What a member has just spent on each image, float64 (B,)."""
        member = self.members[index]
        if isinstance(member, Cascade):
            return member.image_macs
        return torch.full((len(images),), self.macs[index], dtype=torch.float64, device=images.device)

    def probabilities(self, index: int, images: Tensor) -> Tensor:
        """p of one member, float16 (B, classes)."""
        return half_softmax(self.members[index](images))

    def _like(self, total: Tensor, probabilities: Tensor, index: int) -> Tensor:
        if probabilities.shape != total.shape:
            raise UserError(
                f"the members of a cascade need the same classes: {self.names[0]!r} gives {total.shape[1]}, "
                f"{self.names[index]!r} {probabilities.shape[1]}"
            )
        return probabilities

    @torch.no_grad()
    def check_members(self, images: Tensor) -> None:
        """Runs every member, also those that no image would reach.

        Raises `UserError` that names the member which does not take such images, or gives other classes.
        """
        total = None
        for index, (name, member) in enumerate(zip(self.names, self.members, strict=True)):
            if isinstance(member, Cascade):
                member.check_members(images)
            try:
                found = self.probabilities(index, images)
            except Exception as error:  # whatever a forward may raise
                first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                shape = tuple(images.shape[1:])
                raise UserError(f"the member {name!r} does not take images of shape {shape}: {first}") from error
            total = found if total is None else total
            self._like(total, found, index)

    # what has been counted

    def cascades(self) -> list["Cascade"]:
        """This cascade and those in it."""
        return [module for module in self.modules() if isinstance(module, Cascade)]

    def tell_macs(self) -> None:
        """From now on `image_macs` is known after a batch; the MACs of all members have to be known by then."""
        for cascade in self.cascades():
            cascade.tells_macs = True

    def reset_counts(self) -> None:
        """Counts from zero again, in the cascades that are members too."""
        for cascade in self.cascades():
            cascade.reached = [0] * len(cascade.members)

    def counts(self) -> list[int]:
        """`reached` of this cascade and of those in it, one after the other; those of several ranks may be added up."""
        return [count for cascade in self.cascades() for count in cascade.reached]

    def average_macs(self, counts: Sequence[int] | None = None) -> float:
        """Measured MACs for one image: the sum over members of MACs times images that reached it, by images.

        `counts`: a sum of `counts()`; None: what this process has counted. NaN where there was no image. Raises
        `UserError` where the MACs of a member are not known.
        """
        rest = iter(self.counts() if counts is None else counts)
        reached = {cascade: [next(rest) for _ in cascade.members] for cascade in self.cascades()}
        images = reached[self][0]
        return self._total(reached) / images if images else float("nan")

    def _total(self, reached: dict["Cascade", list[int]]) -> float:
        total = 0
        for name, member, macs, count in zip(self.names, self.members, self.macs, reached[self], strict=True):
            if isinstance(member, Cascade):
                total += member._total(reached)
            elif macs is None:
                raise UserError(f"the MACs of the member {name!r} are not known: give model.macs")
            else:
                total += macs * count
        return total


def _count_of(name: str, values: Sequence) -> int:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise UserError(f"model.{name}={values!r} is not allowed; it must be a list")
    return len(values)


def _check_count(name: str, values: Sequence, wanted: int, members: int) -> None:
    given = _count_of(name, values)
    if given != wanted:
        raise UserError(f"model.{name} has {given} values and model.members {members}: it must have {wanted}")
