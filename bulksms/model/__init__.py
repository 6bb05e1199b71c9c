"""The vocabulary that every room shares: a message and its states, an attempt, a recipient, the settings of a run.

It imports no other room. Invariant: pure, so no clock, no file and no network.
"""
