"""Benchmarks: how fast this is against its ceiling and its peers, and how its cost grows.

`python -m benchmarks` measures everything in one run; `--short` takes about two minutes, `--only` chooses sections.

Law: what is compared was measured in the same run, in turn (A, B, A, B ...), on the same cores, against the same
server; what is told is the median with the lowest and the highest round.

- `__main__` the one command; `sections` what it measures, in which form
- `rivals` everybody against everybody, by latency and workers: `contenders` who they are, `wire` what they send
- `layers` what each layer costs a message; `cost` the same as the plan grows; `alone` ledger and intake
- `large` a ledger of a million rows: looked at, resumed; `startup` the time until a command has said something
- `server` what all contenders talk to: nginx, or `raw_server`; `headroom` whether it is in nobody's way
- `program`, `processes`, `machine` where and how it runs
- `figure`, `targets`, `tables`, `chart`, `results` what is told of it
- `kills` and `display` are commands of their own, and so are `planning`, `throughput` and `startup`
"""
