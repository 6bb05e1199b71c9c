"""The directory: who the recipients are, asked before anything is sent.

It may import `adaxes` for the questions, `input` for rows and findings, and `planning.follow_up` for identities.
Invariant: it asks and changes nothing; what an answer means is decided in `verification`, which is pure.
"""

from bulksms.directory.audience import SIZE_LIMIT, Audience, Group, OrganizationalUnit, Part, Search, excluded
from bulksms.directory.lookup import Directory, LookedUp, RequestQueue, Settings, connected
from bulksms.directory.verification import Matcher

__all__ = [
    "SIZE_LIMIT",
    "Audience",
    "Directory",
    "Group",
    "LookedUp",
    "Matcher",
    "OrganizationalUnit",
    "Part",
    "RequestQueue",
    "Search",
    "Settings",
    "connected",
    "excluded",
]
