"""The engine: one run. Workers take queued messages from a ledger to the server and write down what became of each.

`pool` has the workers, `worker` a message's way: the permit, the intent, the request, the outcome. `stop_signal` ends a
run for every reason, the deadline among them; `poller` asks about operations that the server still works on.
It may import `planning`, `adaxes`, `ledger`, `policy` and what is below; it acts, and `policy` decides.
Invariant: no request leaves before its intent is on disk, and however a run ends, the ledger says what is known.
"""
