"""`make bench`: what `deliver` costs and how fast it is, with its peers beside it.

    python -m benchmarks.deliver --help

docs/benchmarks.md says what is measured, how, and what the figures do not say.
"""
