"""Operator: who works here, for the ledger's records and for claims.

Law: the user is the operating system's word; the environment can say anything, and is not asked.
"""

import os
import socket
import sys

if sys.platform == "win32":

    def _user() -> str:
        """Who runs this, in the operating system's words."""
        return os.getlogin()

else:
    import pwd

    def _user() -> str:
        """Who runs this, in the operating system's words."""
        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a container may run under a number that has no name
            return f"user {os.getuid()}"


def operator() -> tuple[str, str]:
    """The operating-system user and the host of this process."""
    return _user(), socket.gethostname()
