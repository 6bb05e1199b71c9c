"""The log: one event for each thing that happened, told with a row's number, never with a name or a text.

Law: a library leaves the configuration of logging to its caller, so these are events of the standard logger `bulksms`
and go nowhere until somebody listens.
"""

import logging
from typing import cast

import structlog

_standard = logging.getLogger("bulksms")
_standard.addHandler(logging.NullHandler())

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
    """Whether anybody wants to hear of every single message: asked before the event is put together."""
    return _standard.isEnabledFor(logging.DEBUG)
