"""The library: the few calls that a program, and the command line, is made of.

Laws: it touches no signal, no configuration of logging, no environment and no event-loop policy, and never exits.
"""
