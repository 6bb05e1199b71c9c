"""Author: who works here, for the ledger's record of runs and decisions, and for claims."""

import getpass
import socket

from bulksms.ledger.decisions import Author


def operator() -> tuple[str, str]:
    """The operating-system user and the host of this process."""
    try:
        return getpass.getuser(), socket.gethostname()
    except (OSError, KeyError, ImportError):  # no such account, or no such module on Windows
        return "unknown", socket.gethostname()


def author(confirmed_by: str, note: str | None = None) -> Author:
    """Who decides something here, and how it was confirmed."""
    user, host = operator()
    return Author(user, host, confirmed_by, note)
