"""Credentials: an access token, or an account to log in with; and the token that is in use.

Law: no secret is in a `repr`, nor in the text of an exception raised here.
"""

import time
from dataclasses import dataclass, field

from bulksms.errors import UsageError


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that an administrator created (Adaxes 2026.1 and newer), used as it is.

    Raises UsageError if it is empty or cannot stand in a header.
    """

    value: str = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", self.value.strip())
        if not self.value:
            raise UsageError("The token is empty.", hint="Set BULKSMS_TOKEN or --token-file to the access token.")
        if not (self.value.isascii() and self.value.isprintable()) or " " in self.value:
            raise UsageError(
                "The token has a blank, a line end or a character outside ASCII in it.",
                hint="Copy the access token alone, in one line and without quotes.",
            )
        if self.value.lower().startswith("bearer"):
            raise UsageError("The token begins with Bearer.", hint="Give the bare token; Adaxes wants no scheme.")


@dataclass(frozen=True, slots=True)
class Account:
    r"""A user name (`user@domain` or `DOMAIN\user`) and password to log in with (Adaxes 2025.1 and older)."""

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.username.strip() or not self.password:
            raise UsageError(
                "The user name or the password is empty.",
                hint="Set BULKSMS_USERNAME and BULKSMS_PASSWORD, or --password-file.",
            )


Credentials = AccessToken | Account


@dataclass(slots=True, eq=False)
class Token:
    """A security token in use.

    `renew_at` and `expires_at` are readings of `time.monotonic`, None if nobody said when it expires. `proven` is set
    by the first answer that the API gave to it: one that never had any is refused for good, not expired.
    """

    value: str = field(repr=False)
    renew_at: float | None = None
    expires_at: float | None = None
    proven: bool = False

    @property
    def ripe(self) -> bool:
        """Whether it is time to have the next one."""
        return self.renew_at is not None and time.monotonic() >= self.renew_at

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and time.monotonic() >= self.expires_at
