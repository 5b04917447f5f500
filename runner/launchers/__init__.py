"""What starts agents and watches them, one package for each place where they can run."""
