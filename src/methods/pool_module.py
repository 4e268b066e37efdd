"""A pool of trained networks as a module: `predict` passes store what each member says of every sample, once.

A callback writes the outputs of a pass, and no network but one is in memory. What was stored stays in the run folder,
`pool/validation` and `pool/test`, and a resumed run goes on with the member that it was killed in.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import nn

from src.cascades.imported import PARTS, check_stored, read_header, read_outputs
from src.cascades.pool import Member, Pool
from src.cascades.pool_folder import PoolFolder
from src.errors import UserError, check_text
from src.methods.cascade_testing import measured_macs
from src.methods.encas_members import PartOfData, member_network, member_of
from src.methods.latency import LatencyProbe
from src.methods.search_module import SearchModule
from src.networks.cascade import Cascade
from src.networks.cascade_macs import fill_macs
from src.runtime.members import GivenMember, given_members


class PoolModule(SearchModule):
    """Members, their costs and their stored outputs.

    Args:
        members: as `src.runtime.members.given_members` takes them.
        folder: the run folder.
        split: of stored outputs in one set, how many of the first are for the search.
        resumed: the folder of the run that goes on, or None; what it has stored is not stored again.
        measures_latency: whether members are timed, on rank 0.
        latency_batch, latency_repeats: images a pass and passes of a measurement.
        base, input_shape, settings: as `SearchModule` has them; there is no base network here.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        members: Sequence[Any],
        folder: str,
        split: int | None = None,
        resumed: str | None = None,
        measures_latency: bool = False,
        latency_batch: int = 1,
        latency_repeats: int = 20,
        **settings,
    ) -> None:
        self.latency = LatencyProbe(latency_batch, latency_repeats)
        self.measures_latency, self.resumed = measures_latency, resumed is not None
        self.given = given_members(members, split)
        self.run_folder = Path(check_text("method.module.folder", folder))
        self.folders = {part: PoolFolder(self.run_folder / "pool" / part) for part in PARTS}
        super().__init__(base, input_shape, **settings)
        if getattr(self.task, "targets", "class") != "class":
            raise UserError("method=encas needs task=classification: a cascade answers with one class an image")
        self.part = PARTS[0]  # of the samples, that is stored
        self.storing: Member | None = None
        self.varying = False  # whether that one does not cost the same for every image
        self.doing = ""  # in words, for the progress bar
        self.members: list[Member] = []  # with their costs on the validation part

    def check_monte_carlo(self, samples: int) -> None:
        if samples:
            raise UserError(f"export.monte_carlo={samples} is not for cascades: give export.monte_carlo=0")

    def network_of(self, config: dict[str, Any]) -> nn.Module:
        """What is in the place of a network while none is needed; a fit cannot be without a parameter."""
        return nn.Linear(1, 1, bias=False)

    @property
    def folder(self) -> PoolFolder:
        return self.folders[self.part]

    def store(self, trainer: pl.Trainer, data: pl.LightningDataModule, part: str, names: Sequence[str]) -> None:
        """Stores the outputs of the members `names` on a part, "validation" or "test", on all ranks together.

        What a resumed run has stored already is left as it is.
        """
        if part == PARTS[0] and rank_zero_only.rank == 0:
            check_stored({given.name: given.stored for given in self.given if given.stored})
        self.part, self._fresh = part, not self.resumed
        todo = [given for given in self.given if given.name in names]
        todo = [given for given in todo if self._fresh or not self.folder.finished(given.name)]
        for number, given in enumerate(todo, 1):
            self.doing = f"{part} outputs of {given.name} ({number}/{len(todo)})"
            if given.config is None:
                if rank_zero_only.rank == 0:
                    self._import(given)
            else:
                self._run(trainer, data, given)

    def _run(self, trainer: pl.Trainer, data: pl.LightningDataModule, given: GivenMember) -> None:
        idle, network = self.network, member_network(given, self.input_shape)
        known = next((member for member in self.members if member.name == given.name), None)
        self.storing = known or member_of(given, network, self.input_shape)
        self.varying = isinstance(network, Cascade) and "macs" not in given.costs
        if self.varying:
            network.reset_counts()
            fill_macs(network, self.input_shape)
            network.tell_macs()
        self.network = network
        try:
            trainer.predict(self, datamodule=PartOfData(data, self.part), return_predictions=False)
        finally:
            self.network = idle

    def _import(self, given: GivenMember) -> None:
        path, rows = given.stored[self.part]
        outputs = read_outputs(path, given.name).part(rows)
        self._begin(given.name, len(outputs.labels), outputs.softmax.shape[1])
        self.folder.add(read_header(path), outputs)

    def _begin(self, name: str, samples: int, classes: int) -> None:
        self.folder.begin(samples, classes, fresh=self._fresh, name=name)
        self._fresh = False

    def begin_member(self, samples: int) -> None:
        """Called on rank 0 before a member runs over `samples` images."""
        self._begin(self.storing.name, samples, self.task.num_classes)
        self.folder.begin_member(self.storing, varying=self.varying)

    def finish_member(self) -> None:
        """Called on all ranks once a member has run over all of them, with its network still there."""
        costs = {}
        if self.varying:
            costs["macs"] = measured_macs(self.network, self.input_shape)
        if rank_zero_only.rank == 0:
            if self.measures_latency and self.part == PARTS[0]:
                costs["latency_ms"] = self.latency.measure(self.network, self.input_shape, self.device)
            self.folder.finish_member(self.storing.name, costs)

    def predict_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        return self(batch[0])

    def pool(self, part: str, names: Sequence[str] | None = None) -> Pool:
        """The stored outputs of a part; of the members `names`, or of all."""
        configs = {given.name: given for given in self.given if names is None or given.name in names}
        kept = {member.name: member for member in self.folders[part].members()}
        missing = next((name for name in configs if name not in kept), None)
        if missing is not None:
            raise UserError(f"member {missing}: its {part} outputs are not stored")
        return self.folders[part].pool([_with_network(kept[name], given) for name, given in configs.items()])


def _with_network(member: Member, given: GivenMember) -> Member:
    weights = None if given.weights is None else str(given.weights)
    return replace(member, config=given.config, weights=weights)
