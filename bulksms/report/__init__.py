"""The report: what a ledger says, for people (table, page) and machines (CSV, JSONL, JSON).

`summary` counts a ledger, chooses the exit code and the next steps; `triage` groups who needs a person.
It may import the ledger's contract and the model. Invariant: it only reads a ledger, and never asserts more than the
server answered.
"""
