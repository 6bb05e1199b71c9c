"""The log: events that name messages by their row, never by their text.

Invariants: a library leaves the configuration of logging to its caller, so these are events of the standard logger
`bulksms`, which go nowhere until the caller adds a handler. They carry no names until the caller sets the level of the
logger `bulksms.recipients` to DEBUG.
"""

import logging
from typing import cast

import structlog

_standard = logging.getLogger("bulksms")
_standard.addHandler(logging.NullHandler())
_recipients = _standard.getChild("recipients")
_recipients.setLevel(logging.CRITICAL)

log = cast(
    "structlog.stdlib.BoundLogger",
    structlog.wrap_logger(
        _standard,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    ),
)


def tells_messages() -> bool:
    """Whether events of single messages are wanted: checked before such an event is built."""
    return _standard.isEnabledFor(logging.DEBUG)


def named(recipient: str) -> dict[str, str]:
    """The recipient as a value of an event if names are wanted; else nothing."""
    return {"recipient": recipient} if _recipients.isEnabledFor(logging.DEBUG) else {}
