"""What runs inside an agent's container: asks the sweep for run after run and looks after each.

Standard library and `pynvml` only, in the grammar of Python 3.10: it must work in anybody's image.
"""
