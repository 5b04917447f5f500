"""Start and watch agents: one package for each place where they can run."""
