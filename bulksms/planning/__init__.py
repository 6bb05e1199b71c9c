"""Everything that happens to an input before a run: the draft and its preview, follow-ups, estimates, earlier starts.

`follow_up` compares with earlier ledgers, `start_registry` recognises a plan that was started before, `ledger_history`
an older copy of a ledger.
It may import `input`, `ledger`, `model` and `policy`. Invariant: it sends nothing.
"""
