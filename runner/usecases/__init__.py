"""What the commands do: knows no typer and prints nothing."""
