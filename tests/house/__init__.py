"""How the house is built: where a value goes, and what keeps its rooms small."""
