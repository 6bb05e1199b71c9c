"""Benchmarks of what the documentation quotes; `python -m benchmarks` lists them.

Invariants: what is compared is measured in the same run, in turn (A, B, A, B …), on the same core, against the same
server. What is printed is the median with the lowest and the highest round.
"""
