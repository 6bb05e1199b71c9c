"""bulksms: bulk SMS through the Adaxes REST API, with a ledger that tells the truth after any crash.

The public names, what the command line itself is made of. Read messages (`open_input`, `OwnRows`), `plan` them into a
ledger or only look (`preview`), `open_run` on it, and see what became of each (`OpenRun.outcomes`, `status`,
`LedgerReader`). Each name is imported when it is first asked for, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from bulksms.version import VERSION

if TYPE_CHECKING:
    from bulksms.adaxes import AccessToken, Account, Endpoint
    from bulksms.config import RunSettings
    from bulksms.delivery.deadline import Deadline
    from bulksms.delivery.outcome import Delivery
    from bulksms.delivery.retry import Stop
    from bulksms.errors import (
        BulksmsError,
        InputRefused,
        LedgerLocked,
        LedgerTrouble,
        PlanRefused,
        ServerTrouble,
        UsageError,
    )
    from bulksms.intake import BadRow, Finding, InputOptions, OwnRows, Row, open_input
    from bulksms.ledger.control import Wish
    from bulksms.ledger.reader import LedgerReader, Line
    from bulksms.library.outcomes import Outcome
    from bulksms.library.plans import NotSendable, PlanOptions, plan, preview
    from bulksms.library.runs import Hooks, OpenRun, open_run
    from bulksms.message import Reason, State
    from bulksms.planning import Preview
    from bulksms.report.summary import Summary, status

__all__ = [
    "AccessToken",
    "Account",
    "BadRow",
    "BulksmsError",
    "Deadline",
    "Delivery",
    "Endpoint",
    "Finding",
    "Hooks",
    "InputOptions",
    "InputRefused",
    "LedgerLocked",
    "LedgerReader",
    "LedgerTrouble",
    "Line",
    "NotSendable",
    "OpenRun",
    "Outcome",
    "OwnRows",
    "PlanOptions",
    "PlanRefused",
    "Preview",
    "Reason",
    "Row",
    "RunSettings",
    "ServerTrouble",
    "State",
    "Stop",
    "Summary",
    "UsageError",
    "Wish",
    "open_input",
    "open_run",
    "plan",
    "preview",
    "status",
]

__version__ = VERSION

_ROOMS = {
    "adaxes": ("AccessToken", "Account", "Endpoint"),
    "config": ("RunSettings",),
    "delivery.deadline": ("Deadline",),
    "delivery.outcome": ("Delivery",),
    "delivery.retry": ("Stop",),
    "errors": (
        *("BulksmsError", "InputRefused", "LedgerLocked", "LedgerTrouble", "PlanRefused", "ServerTrouble"),
        "UsageError",
    ),
    "intake": ("BadRow", "Finding", "InputOptions", "OwnRows", "Row", "open_input"),
    "ledger.control": ("Wish",),
    "ledger.reader": ("LedgerReader", "Line"),
    "library.outcomes": ("Outcome",),
    "library.plans": ("NotSendable", "PlanOptions", "plan", "preview"),
    "library.runs": ("Hooks", "OpenRun", "open_run"),
    "message": ("Reason", "State"),
    "planning": ("Preview",),
    "report.summary": ("Summary", "status"),
}
"""Where each name lives; a test holds this against the imports above."""


if not TYPE_CHECKING:  # which would take any misspelt name for a good one

    def __getattr__(name: str) -> object:
        for room, names in _ROOMS.items():
            if name in names:
                value = getattr(import_module(f"{__name__}.{room}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
