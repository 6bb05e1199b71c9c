"""Author: who works here, for the ledger's record of runs and decisions, and for claims."""

from bulksms.ledger.decisions import Author
from bulksms.library.operator import operator


def author(confirmed_by: str, note: str | None = None) -> Author:
    """Who decides something here, and how it was confirmed."""
    user, host = operator()
    return Author(user, host, confirmed_by, note)
