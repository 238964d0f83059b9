"""Random programs, run in every mode of the engine: nothing that a program can observe may differ between them.

python -m tests.fuzz --programs 1000 --seed 0
"""
