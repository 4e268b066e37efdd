"""How a job runs: the command line, building objects, the trainer, loggers, seeds, architecture files and exports."""
