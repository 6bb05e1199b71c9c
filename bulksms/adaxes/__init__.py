"""The Adaxes REST API: authentication, operations, look-ups, and one request as an `Attempt`.

`exchange` makes one request, `wire` writes and reads the bodies, `auth` gets and renews the token.
It may import `model`, `policy`, `system` and `errors`. Invariant: trouble with the network is a value,
never an exception.
"""

from bulksms.adaxes.auth import LoginFailure
from bulksms.adaxes.client import Answered, Caller, Client, LoginError, Poll
from bulksms.adaxes.diagnose import CheckResult, Step, diagnose
from bulksms.adaxes.endpoint import (
    AccessToken,
    Account,
    ClientSettings,
    Credentials,
    Endpoint,
    Token,
    is_loopback,
    parse_base_url,
    parse_proxy,
    proxy_for,
    without_password,
)
from bulksms.adaxes.errors import hint_for
from bulksms.adaxes.exchange import Exchange, is_unauthenticated
from bulksms.adaxes.lookups import (
    Criteria,
    DirectoryObject,
    Listing,
    LookupAnswer,
    everybody,
    group_members,
    has_any,
    has_some,
    look_up,
    search,
    search_by_filter,
)

__all__ = [
    "AccessToken",
    "Account",
    "Answered",
    "Caller",
    "CheckResult",
    "Client",
    "ClientSettings",
    "Credentials",
    "Criteria",
    "DirectoryObject",
    "Endpoint",
    "Exchange",
    "Listing",
    "LoginError",
    "LoginFailure",
    "LookupAnswer",
    "Poll",
    "Step",
    "Token",
    "diagnose",
    "everybody",
    "group_members",
    "has_any",
    "has_some",
    "hint_for",
    "is_loopback",
    "is_unauthenticated",
    "look_up",
    "parse_base_url",
    "parse_proxy",
    "proxy_for",
    "search",
    "search_by_filter",
    "without_password",
]
