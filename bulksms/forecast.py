"""Forecast: what a deadline asks of a run, before it and after its first answers.

Law: pure, and never better than what is known: a call takes half a second to two until answers have shown it.
"""

import math

CALL_SECONDS = (0.5, 2.0)
"""How long one call takes, at best and at worst: Adaxes answers after its rules and the gateway."""
FIRST_ANSWERS = 50
"""So many answers show how fast the server is."""


def told_in(seconds: float, messages: int, workers: int, rate: float | None) -> tuple[int, int]:
    """How many of the messages are told in so many seconds: at worst and at best."""
    ceiling = math.inf if rate is None else seconds * rate
    worst, best = (min(messages, ceiling, seconds * workers / call) for call in reversed(CALL_SECONDS))
    return int(worst), int(best)


def before(seconds: float, messages: int, workers: int, rate: float | None) -> str:
    """What the deadline asks: the rate that is needed, how many would be told, the workers that would fit."""
    worst, best = told_in(seconds, messages, workers, rate)
    told = f"{worst:,}" if worst == best else f"{worst:,} to {best:,}"
    needed = messages / seconds if seconds else math.inf
    words = f"needs {needed:,.1f} a second; at 0.5 to 2 s a call {workers} workers tell {told} of {messages:,} in time"
    if worst >= messages:
        return words
    if rate is not None and rate < needed:
        return f"{words}; --rate {rate:g} is too low for it"
    return f"{words}; --workers {math.ceil(messages * CALL_SECONDS[1] / seconds) if seconds else messages} would fit"


def after(done: int, elapsed: float, left: int, seconds: float, workers: int) -> str | None:
    """What the first answers show about the deadline in so many seconds; None if all will be told in time."""
    speed = done / elapsed
    in_time = int(speed * seconds)
    if in_time >= left:
        return None
    fits = math.ceil(workers * left / max(1, in_time))
    return (
        f"WARNING: at the speed of the first {done:,} answers ({speed:,.1f} a second) {left - in_time:,} of {left:,} "
        f"will not be told before the deadline; about --workers {fits:,} would fit, if the server takes it."
    )
