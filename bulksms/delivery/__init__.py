"""Decisions: what an attempt proves, whether a message is sent again and when, when a run has to stop.

Law: everything here is pure. `now` and chance are arguments, a decision is a returned value; nothing here sends,
sleeps, writes or logs.
"""
