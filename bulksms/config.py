"""The settings of a run: one frozen object, each default with its reason."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from bulksms.delivery.deadline import Deadline
from bulksms.delivery.outcome import Delivery

NO_DEADLINE = Deadline()


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run sends. What a run was started with is kept in its ledger and holds when it is resumed."""

    workers: int = 16
    """Requests under way at once: a send takes 0.2 to 2 s, so this is 8 to 80 messages a second."""
    timeout: float = 30.0
    """Seconds for connecting, and again for the whole answer: the server works through business rules before it."""
    server_wait: int | None = None
    """Seconds of the `Adm-Wait` header; None is 0.8 of the time-out, less than 2 turns it off."""
    max_attempts: int = 5
    """Attempts that use up a message: with full jitter that is up to half a minute of trying."""
    delivery: Delivery = Delivery.BALANCED
    """What may be sent again."""
    adapt: bool = True
    """Start with a few workers and add more while the server takes it without complaint."""
    rate: float | None = None
    """Messages a second; None is no limit but the workers."""
    max_failures: str | None = None
    """`N` or `N%`: failed messages, or the part of the last settled, that stop the run; None is no limit."""
    keep_going: bool = False
    """Go on although many in a row are refused in the same words."""
    max_pause: float = 600.0
    """Seconds that a server may be away before the run stops: an IIS restart takes one or two minutes."""
    canary: int | None = None
    """Send the first so many one at a time, and go on only if all were accepted."""
    test_to: str | None = None
    """The operator's own object, to which the first text goes before anybody else is sent anything."""
    deadline: Deadline = NO_DEADLINE
    """When nothing new begins any more."""
    poll_timeout: float = 600.0
    """Seconds after which an operation that stays incomplete is given up as lost."""

    @property
    def adm_wait(self) -> int | None:
        """The `Adm-Wait` header in whole seconds: a little less than the time-out, so that the 202 still gets here."""
        wait = int(self.timeout * 0.8) if self.server_wait is None else self.server_wait
        return wait if wait >= 2 else None

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values, for the ledger."""
        return dataclasses.asdict(self)

    def changed(self, values: Mapping[str, Any]) -> Self:
        """The same settings with these values changed; names that are none of its own are left alone."""
        known = {field.name for field in dataclasses.fields(self)}
        changes = {name: value for name, value in values.items() if name in known and value is not None}
        if "delivery" in changes:
            changes["delivery"] = Delivery(changes["delivery"])
        if isinstance(deadline := changes.get("deadline"), Mapping):
            changes["deadline"] = Deadline(**deadline)
        return dataclasses.replace(self, **changes)
