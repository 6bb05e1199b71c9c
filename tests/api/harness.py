"""A program that uses the library: people in a ledger, and a simulator in the same event loop."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import bulksms
from bulksms.model.run_settings import Timings
from bulksms.sandbox import Journal, Sandbox

open_run = partial(
    bulksms.open_run,
    timings=Timings(
        backoff_base=0.005,
        backoff_cap=0.02,
        attempt_spacing=0.0,
        first_poll=0.02,
        longest_poll_pause=0.1,
        watch_interval=0.01,
    ),
)
"""Waits of milliseconds; the decisions are the real ones."""

Planned = Callable[..., Path]
Agree = Callable[[Path, Journal], None]


def endpoint_of(server: Sandbox) -> bulksms.Endpoint:
    """The simulator, as a program names it."""
    return bulksms.Endpoint.at(server.url, bulksms.AccessToken("sandbox"))
