"""The library: plan messages into a ledger, run it, follow the outcomes; the command line is built on these calls.

It may import every room but `cli`; programs import its public names from `bulksms`.
Invariant: it touches no signal, no logging configuration, no environment and no event-loop policy, and never exits.
"""
