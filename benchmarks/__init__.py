"""Benchmarks: how fast this is against its ceiling, and how its cost grows. Ratios of one run, medians."""
