"""Flows: what several commands do, from reading an input to the end of a run.

`run` drives a run and turns signals into stops, `ledger_run` is all that comes before and after it, `duplicate_guard`
refuses what was started elsewhere, `announcement` reports to other programs.
They may import options and ui, and no command. Invariant: nothing is sent before a person or an option has
confirmed it.
"""
