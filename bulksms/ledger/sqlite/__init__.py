"""How SQLite keeps the promises of `bulksms.ledger`: one file, one writing connection, a lock beside the file.

`writer` takes the intents and outcomes of a run, `batch` is what one commit of them writes; `recovery` decides about
messages that a dead run left.
Nobody outside `bulksms.ledger` imports from here. Invariant: nothing is reported as written before it is on disk.
"""
