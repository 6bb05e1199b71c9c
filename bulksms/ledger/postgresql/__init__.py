"""How PostgreSQL keeps the promises of `bulksms.ledger` for several machines on one run: a ledger is a schema.

`write_queue` takes the intents and outcomes of a machine and commits them, `holdings` are the messages that it may
send, `observer` takes silent machines for dead, `membership` fences them, `shared_run` is what all machines share.
Nobody outside `bulksms.ledger` imports from here. Invariants: one commit is one statement; a machine that may have been
fenced begins nothing; a message is sent by the machine that owns its block, and by no other.
"""
