"""The report: what a ledger says, for people (table, page) and machines (CSV, JSONL, JSON).

Law: it reads and tells; it never changes a ledger, and never says more than the server said.
"""
