"""What the commands do. Nothing here uses typer or prints."""
