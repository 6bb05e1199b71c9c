"""The policy: what an attempt proves, whether and when a message goes again, how fast, and when a run has to stop.

It may import `model` only. `retry` decides whether a message goes again; `judgement` is the one place that decides what
follows from an answer for the message and for the run. `admission` says whether the next request may leave.
Invariant: everything here is pure. Time and chance are arguments; nothing here sends, sleeps, writes or logs.
"""
