"""Speed and memory of the library, alone or side by side with the reference implementation.

`python tests/benchmarks --help` says how to run them; pytest does not collect them.
"""
