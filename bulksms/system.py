"""System: time and chance, and who works here. The one place of a run that asks the operating system for them.

Everything else is given time and chance, so that a simulation can run a night in a second and play it again from its
seed. Invariant: the user is named by the operating system, never by the environment, which anybody can set.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class System:
    """Where time and chance come from. `now` is a POSIX time in seconds, which somebody may set at any moment."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.perf_counter
    """Seconds since some moment. `time.monotonic` has steps of 16 ms on Windows before Python 3.13."""
    sleep: Callable[[float], None] = time.sleep
    """Blocks the thread for so many seconds."""
    random: Callable[[], float] = random.random
    """Uniform in [0, 1), for the jitter of a wait; no secret is made of it."""
    local: Callable[[datetime], datetime] = datetime.astimezone
    """Gives a time without a zone the local zone, and shows one that has a zone in local time."""


SYSTEM = System()
"""The operating system's own."""

if sys.platform == "win32":

    def _user() -> str:
        """Who runs this, in the operating system's words."""
        return os.getlogin()

else:
    import pwd

    def _user() -> str:
        """Who runs this, in the operating system's words."""
        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a container may run under a number that has no name
            return f"user {os.getuid()}"


def operator() -> tuple[str, str]:
    """The operating-system user and the host of this process."""
    import socket  # noqa: PLC0415 - who only looks does not wait for it

    return _user(), socket.gethostname()


def state_folder() -> Path:
    """Where this user's state is kept between runs; the path begins with `~` where no home is known."""
    from platformdirs import user_state_path  # noqa: PLC0415 - who only looks does not wait for it

    return user_state_path("bulksms", appauthor=False)
