"""The simulator of an Adaxes server that tests, benchmarks and rehearsals send to.

It listens on loopback only, implements the REST API as far as it is documented, fails on request, and keeps a journal
of everything it received. Importing this package does not import aiohttp: the names of the server are imported when
they are first used, so that `--help` stays quick. It may import `model` and `errors`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bulksms.sandbox.directory import Directory, DirectoryObject
from bulksms.sandbox.faults import Fault, FaultPlan, Share, parse_faults
from bulksms.sandbox.journal import Called, Comparison, Journal, Received, compare

if TYPE_CHECKING:
    from bulksms.sandbox.look_ups import PropertyShape, Shapes
    from bulksms.sandbox.send_sms import IdShape, SlowSends, Wait
    from bulksms.sandbox.server import Account, Away, Sandbox, serve

__all__ = [
    "Account",
    "Away",
    "Called",
    "Comparison",
    "Directory",
    "DirectoryObject",
    "Fault",
    "FaultPlan",
    "IdShape",
    "Journal",
    "PropertyShape",
    "Received",
    "Sandbox",
    "Shapes",
    "Share",
    "SlowSends",
    "Wait",
    "compare",
    "parse_faults",
    "serve",
]

_LATER = {
    "Account": "server",
    "Away": "server",
    "IdShape": "send_sms",
    "PropertyShape": "look_ups",
    "Sandbox": "server",
    "Shapes": "look_ups",
    "SlowSends": "send_sms",
    "Wait": "send_sms",
    "serve": "server",
}
"""The names whose modules import aiohttp."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type checker reads the imports above instead
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
