"""Flows: what several commands do, from reading an input to the end of a run.

They may import options and ui, and no command. Invariant: nothing is sent before a person or an option has
confirmed it.
"""
