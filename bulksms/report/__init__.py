"""The report: what a ledger says, for people (table, page) and machines (CSV, JSONL, JSON).

It may import the ledger's contract and the model. Invariant: it only reads a ledger, and never asserts more than the
server answered.
"""
