"""Trains one network, tests it once and exports it: compose -> build -> train -> test -> export.

    python train.py                                                     resnet20 on real digits
    python train.py architecture=outputs/<run folder>                   what a search has found, from scratch
    python train.py architecture=outputs/<run folder> test_only=true    tests the weights of that folder
"""

from omegaconf import DictConfig

from src.runtime.launch import launch


def train(config: DictConfig) -> None:
    """One run: a training from scratch, or from given weights; a test; the exported programs."""
    # torch and Lightning are imported once the command line has been checked: a typo is answered at once
    from src.errors import check_range
    from src.methods.final_training import Recipe, check_monte_carlo, table_row
    from src.runtime import preparation as prepare
    from src.runtime.architecture import save_architecture
    from src.runtime.results import write_results

    folder, data = prepare.run_folder(config), prepare.prepared_data(config)
    architecture, name = prepare.model_config(config), prepare.model_name(config)
    weights = prepare.weights_file(config)
    check_range("epochs", config.epochs, 1)
    state = prepare.run_state(config, folder)
    draws = prepare.monte_carlo(config)
    check_monte_carlo(draws["monte_carlo"], architecture)
    task = prepare.prepared_task(config, data)
    recipe = Recipe.from_config(config, config.trainer, task, state, **draws)
    callbacks = list(prepare.build_callbacks(config.callbacks).values())

    with prepare.open_loggers(config, folder, f"train-{name}-{data.name}") as loggers:
        trained = recipe.train(
            architecture,
            data,
            config.seed,
            loggers,
            callbacks=callbacks,
            weights=weights,
            test_only=config.test_only,
        )
        if trained.is_global_zero:
            save_architecture(folder / "architecture.yaml", architecture)
            rows = [table_row(name, architecture, data.input_shape, [trained])]
            write_results(folder, rows, trained.network, data, config.export.formats, **draws)
            state.forget_results()
            print(f"\nrun folder: {folder}")


if __name__ == "__main__":
    launch(train, "train")
