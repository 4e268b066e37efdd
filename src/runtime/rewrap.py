"""After a network was replaced in the middle of a fit: optimizers, LR schedules and the DDP wrapper are made anew."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.strategies import DDPStrategy


def rewrap(trainer: pl.Trainer, keep_schedule: bool = False) -> None:
    """Points the running `trainer` to the parameters that its module has now. Call it on every rank.

    Lightning wraps the module and collects its parameters once, at the start of a fit; without this the next step
    under DDP raises, and without DDP the optimizer goes on with the parameters of the old network.

    Args:
        keep_schedule: the LR schedules go on where they were; False starts them again, as for a new training.
    """
    strategy = trainer.strategy
    strategy.precision_plugin.convert_module(strategy.lightning_module)
    adopt_network(trainer)
    states = [config.scheduler.state_dict() for config in strategy.lr_scheduler_configs]
    if isinstance(strategy, DDPStrategy):
        module = strategy.lightning_module
        strategy.model = strategy._layer_sync.apply(module) if strategy._layer_sync else module
        strategy.model_to_device()
        strategy.configure_ddp()
    else:
        strategy.model_to_device()
    strategy.setup_optimizers(trainer)
    if keep_schedule:
        for config, state in zip(strategy.lr_scheduler_configs, states, strict=True):
            config.scheduler.load_state_dict(state)
            # a schedule writes its rate when it steps; until then the new optimizer would run at its first rate
            groups, rates = config.scheduler.optimizer.param_groups, config.scheduler.get_last_lr()
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate


def adopt_network(trainer: pl.Trainer) -> None:
    """Tells the callbacks that average weights (EMA) of the network that the module has now, for a new average."""
    for callback in trainer.callbacks:
        if isinstance(callback, WeightAveraging):
            callback.setup(trainer, trainer.lightning_module, "fit")
