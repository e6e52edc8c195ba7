"""How fast stcli is, each figure as a ratio of two things measured in one run.

    python -m tests.benchmarks             every part, one after the other
    python -m tests.benchmarks startup     one part; --help names them

Nothing here is a test: a machine's noise must not fail one.
"""
