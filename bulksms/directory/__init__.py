"""The directory: who the recipients are, asked before anything is sent.

Law: it asks and does nothing else; what an answer means stands in `judging`.
"""

from bulksms.directory.asking import Asking
from bulksms.directory.connection import Directory, Settings, connected
from bulksms.directory.looked_up import LookedUp
from bulksms.directory.members import SIZE_LIMIT, GroupMembers

__all__ = ["SIZE_LIMIT", "Asking", "Directory", "GroupMembers", "LookedUp", "Settings", "connected"]
