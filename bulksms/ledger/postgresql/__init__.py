"""How PostgreSQL keeps the promises of `bulksms.ledger` for several machines on one run: a ledger is a schema.

Nobody outside `bulksms.ledger` imports from here. Invariants: one commit is one statement; a machine that may have been
fenced begins nothing; a message is sent by the machine that owns its block, and by no other.
"""
