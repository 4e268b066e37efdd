"""Finds a better model config than the one that it is given: compose -> build -> search -> compare -> report.

    python search.py                                  CONet on real digits, about two minutes on two cores
    python search.py data=cifar10 model=resnet20      every choice: python search.py --help, conf/, README.md
"""

import sys

from omegaconf import DictConfig

from src.runtime.launch import launch


def search(config: DictConfig) -> None:
    """One run: the search in one fit, then the base and the found network trained and tested alike, then the report."""
    # torch and Lightning are imported once the command line has been checked: a typo is answered at once
    from functools import partial as bind

    from src.methods.final_training import Recipe
    from src.runtime import preparation as prepare
    from src.runtime.build import build
    from src.runtime.results import write_results
    from src.runtime.trainer import make_trainer

    folder, data = prepare.run_folder(config), prepare.prepared_data(config)
    base, name = prepare.model_config(config), prepare.model_name(config)
    task = prepare.prepared_task(config, data)
    module = build(
        config.method.module,
        "method",
        base=base,
        input_shape=data.input_shape,
        seed=config.seed,
        description={"model": name, "data": data.name, "seed": str(config.seed), "command": " ".join(sys.argv)},
        task=task,
        optimizer=prepare.partial(config.optimizer, "optimizer"),
        scheduler=prepare.partial(config.scheduler, "scheduler"),
        channels_last=config.trainer.channels_last,
    )
    state = prepare.run_state(config, folder)
    draws = prepare.monte_carlo(config)
    module.check_monte_carlo(draws["monte_carlo"])
    recipe = Recipe.from_config(config.retrain, config.trainer, task, state, "retrain.", **draws)
    # the ranks are compared before the method's callbacks may put a fresh network in the place of the trained one
    first = {"ranks_agree": config.callbacks.get("ranks_agree")}
    callbacks = prepare.build_callbacks(first, config.method.callbacks, config.callbacks)
    shared = {name: config.callbacks.get(name) for name in ("ranks_agree", "run_checkpoint", "search_progress")}
    alike = bind(prepare.build_callbacks, shared, config.retrain.get("callbacks", {}))  # new ones for each training
    alike()  # a mistake in one of them is told now

    with prepare.open_loggers(config, folder, f"{config.method.name}-{name}-{data.name}") as loggers:
        trainer = make_trainer(
            config.trainer,
            list(callbacks.values()),
            loggers,
            state.checkpoint_io(),
            unused_parameters=module.unused_parameters,
        )
        module.search(trainer, data, state.checkpoint())
        rows, network = module.compare(recipe, name, data, loggers, alike)
        if trainer.is_global_zero:
            if "pareto_report" in callbacks:
                callbacks["pareto_report"].write(module, rows)
            write_results(folder, rows, network, data, config.export.formats, **draws)
            state.forget_results()
            print(f"\n{module.remark()}\nrun folder: {folder}")


if __name__ == "__main__":
    launch(search, "search")
