"""Steps, validations, checkpoints, and the loop around them."""
