"""Everything that happens to an input before a run: the draft and its preview, follow-ups, estimates, earlier starts.

It may import `input`, `ledger`, `model` and `policy`. Invariant: it sends nothing.
"""
