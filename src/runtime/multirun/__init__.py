"""Many runs from one command (`-m`): planned, each job a process of its own, compared, gone on with."""
