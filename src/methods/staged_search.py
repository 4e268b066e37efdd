"""A search in two stages: the vital blocks alone, then the others, with the vital ones as they were found.

HourNAS (https://arxiv.org/abs/2005.14446). Blocks that are not vital keep the shape, so a super-net without them runs.
It is small, and its choices multiply among few blocks only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from src.errors import UserError, check_flag, check_whole
from src.methods.hournas_stages import REST, VITAL, Stage, options_in, stages_of
from src.methods.operation_search import OperationSearch


class StagedSearch(OperationSearch):
    """Goes from stage to stage; a subclass says which path it stands at (`current_choice`).

    Args:
        base, input_shape: as `OperationSearch` has them.
        priority: vital blocks first; False: all blocks together, for as many epochs.
        vital_epochs, other_epochs: of the first and the second stage.
        vital_hard, other_hard: whether a step of that stage runs one operation of each block; else all of them, mixed.
        inherit_weights: whether the second stage begins with the weights of the first.
        train_vital_weights: whether weights of vital blocks are trained on in the second stage.
        settings: as `OperationSearch` has them.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        priority: bool = True,
        vital_epochs: int = 12,
        other_epochs: int = 30,
        vital_hard: bool = False,
        other_hard: bool = True,
        inherit_weights: bool = True,
        train_vital_weights: bool = True,
        **settings,
    ) -> None:
        check_whole("method.stage1.epochs", vital_epochs, 0)
        check_whole("method.stage2.epochs", other_epochs, 0)
        if vital_epochs + other_epochs == 0:
            raise UserError("method.stage1.epochs=0 and method.stage2.epochs=0 leave nothing to search")
        check_flag("method.stage1.hard", vital_hard)
        check_flag("method.stage2.hard", other_hard)
        self.inherit_weights = check_flag("method.stage2.inherit_weights", inherit_weights)
        self.train_vital_weights = check_flag("method.stage2.train_vital_weights", train_vital_weights)
        super().__init__(base, input_shape, **settings)
        first, second = Stage(VITAL, 0, vital_epochs, vital_hard), Stage(REST, vital_epochs, other_epochs, other_hard)
        self.stages = stages_of(self.space.vital, priority, first, second)
        if priority and len(self.stages) == 1:
            rank_zero_warn("method.priority=true has no effect: " + _one_stage(self.space.vital, first))
        self.stage_number, self.fixed = 0, {}  # fixed: operations of blocks that earlier stages have decided
        self._begin_stage()
        self.network = self.fresh_network(self.config, 0)

    @property
    def stage(self) -> Stage:
        return self.stages[self.stage_number]

    def stage_epoch(self) -> int:
        return self.current_epoch - self.stage.begin

    def schedule_epochs(self) -> int:
        return self.stage.epochs

    def learning_stages(self) -> list[tuple[str, int]]:
        """Name and epochs of each stage, every one of which needs architecture steps."""
        return [(stage.name, stage.epochs) for stage in self.stages]

    def _begin_stage(self) -> None:
        options = options_in(self.stage, self.space.vital, self.space.costs.allowed, self.fixed)
        self.set_options(options, self.stage_number)

    def stage_ends(self) -> bool:
        """Whether the epoch under way is the last of its stage."""
        return self.current_epoch + 1 == self.stage.end

    def on_last_stage(self) -> bool:
        return self.stage_number + 1 == len(self.stages)

    def next_stage(self) -> None:
        """Fixes the vital blocks as they stand now, and goes on with the others and the weights so far."""
        before, old = self.options, self.network
        path = self._path(self.current_choice())
        self.fixed = {block: own[place] for block, (own, place) in enumerate(zip(before, path, strict=True)) if own}
        self.stage_number += 1
        self._begin_stage()
        network = self.fresh_network(self.config, self.stage_number)
        if self.inherit_weights:
            network.load_state_dict(_inherited(old.state_dict(), path, network.state_dict()))
        self._freeze(network)
        self.replace_network(network, self.config)

    def _freeze(self, network: nn.Module) -> None:
        if not self.train_vital_weights:
            for block in self.fixed:
                network.blocks[block].requires_grad_(False)

    @property
    def hard(self) -> bool:
        return self.stage.hard

    def phase(self) -> str:
        number = f" ({self.stage_number + 1}/{len(self.stages)})" if len(self.stages) > 1 else ""
        return f"searching {self.stage.name}{number}"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        options = [list(own) for own in self.options]
        checkpoint["stages"] = {"number": self.stage_number, "fixed": dict(self.fixed), "options": options}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["stages"]
        self.stage_number, self.fixed, self.options = state["number"], dict(state["fixed"]), state["options"]
        self._freeze(self.network)


def _one_stage(vital: Sequence[bool], first: Stage) -> str:
    """Why there is one stage only."""
    if all(vital) or not any(vital):
        return f"of the blocks {'all' if all(vital) else 'none'} are vital, so all are searched together"
    return f"method.stage{2 if first.epochs else 1}.epochs=0, so all blocks are searched together"


def _inherited(old: Mapping[str, Tensor], path: Sequence[int], fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`fresh`, with what the path through the old super-net has in its place; fixed blocks hold one operation there."""
    state = dict(fresh)
    for name in fresh:
        parts = name.split(".")
        if parts[0] == "blocks":
            parts[3] = str(path[int(parts[1])]) if parts[3] == "0" else "-"
        source = ".".join(parts)
        if source in old and old[source].shape == fresh[name].shape:
            state[name] = old[source]
    return state
