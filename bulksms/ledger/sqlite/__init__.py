"""How SQLite keeps the promises of `bulksms.ledger`: one file, one writing connection, a lock beside the file.

Nobody outside `bulksms.ledger` imports from here. Invariant: nothing is reported as written before it is on disk.
"""
