"""When an evolution of super-nets trains what: a warm-up, then iterations, one super-net after the other in each.

Section 1.1 of NAT as ENCAS reproduces it: iteration 0 trains on random sub-nets, iterations 1 to T on an archive; after
each all of the archive is evaluated. With several super-nets an iteration trains each of them in turn.
"""

from typing import NamedTuple

from src.errors import check_choice, check_whole

LR_SCHEDULES = ("restart", "whole")
MOST_ITERATIONS = 10_000


class Phase(NamedTuple):
    """Epochs in a row that train one super-net. iteration: -1 for the warm-up."""

    iteration: int
    supernet: int
    begin: int
    epochs: int

    @property
    def end(self) -> int:
        return self.begin + self.epochs


class EvolutionSchedule:
    """The phases of a search with T + 1 iterations.

    Args:
        supernets: K.
        warmup_epochs: of each super-net, on sub-nets of all sizes, before iteration 0.
        iterations: T, in which an archive was proposed.
        epochs: of each super-net in an iteration; 0: the weights stay as they are.
        lr_schedule: "restart": each phase has a schedule of its own (as ENCAS trains); "whole": one schedule covers all
            iterations (the NAT reproduction), of several super-nets too.

    Raises:
        UserError: an argument that is not allowed.
    """

    def __init__(self, supernets: int, warmup_epochs: int, iterations: int, epochs: int, lr_schedule: str) -> None:
        self.supernets = supernets
        self.warmup_epochs = check_whole("method.warmup_epochs", warmup_epochs, 0)
        self.iterations = check_whole("method.iterations", iterations, 1, MOST_ITERATIONS)
        self.epochs = check_whole("method.epochs", epochs, 0)
        self.lr_schedule = check_choice("method.lr_schedule", lr_schedule, LR_SCHEDULES)
        self.phases: list[Phase] = []
        for iteration in range(-1, iterations + 1):
            length = warmup_epochs if iteration < 0 else epochs
            for supernet in range(supernets if length else 0):
                begin = self.phases[-1].end if self.phases else 0
                self.phases.append(Phase(iteration, supernet, begin, length))

    @property
    def total(self) -> int:
        """Epochs of training in all."""
        return self.phases[-1].end if self.phases else 0

    def phase(self, epoch: int) -> Phase:
        """The phase that an epoch belongs to; after the last one, the last one."""
        return next((phase for phase in self.phases if epoch < phase.end), self.phases[-1])

    def evaluated_by(self, epoch: int) -> int:
        """How many archives have been evaluated once `epoch` begins."""
        if not self.epochs:
            return self.iterations + 1 if epoch >= self.total else 0
        ends = [phase.end for phase in self.phases if phase.iteration >= 0 and phase.supernet == self.supernets - 1]
        return sum(end <= epoch for end in ends)

    def restarts(self, epoch: int) -> bool:
        """Whether the optimizer and its schedule begin anew after `epoch`, whose phase then ends."""
        phase = self.phase(epoch)
        if epoch + 1 != phase.end or phase.end == self.total:
            return False
        return self.lr_schedule == "restart" or phase.iteration < 0

    def schedule_epochs(self, epoch: int) -> int:
        """The epochs of the LR schedule that runs in `epoch`."""
        if not self.phases:
            return 1
        phase = self.phase(epoch)
        if self.lr_schedule == "whole" and phase.iteration >= 0:
            return self.supernets * self.epochs * (self.iterations + 1)
        return phase.epochs
