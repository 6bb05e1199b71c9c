"""Files of a report: they hold names and texts, so nobody else may read them."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from bulksms.errors import UsageError


def write_privately(path: Path, chunks: Iterable[str]) -> None:
    """Write text as UTF-8, line ends as they come, mode 0600 (POSIX). Raises UsageError if it cannot be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            if os.name == "posix" and stat.S_ISREG(os.fstat(descriptor).st_mode):  # a device keeps its mode
                os.fchmod(descriptor, 0o600)
            file.writelines(chunks)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", hint="Choose another file with -o.") from error
