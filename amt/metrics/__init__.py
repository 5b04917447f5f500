"""How good predictions are, and what the best constant answer would score."""
