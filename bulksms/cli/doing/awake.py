"""Awake: the machine does not fall asleep while a run lives, where the platform lets a program ask for that.

Law: asking may fail, and then changes nothing; the wish ends with the block, and with the process.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

if sys.platform == "win32":
    import ctypes

    _CONTINUOUS = 0x80000000
    _SYSTEM_REQUIRED = 0x00000001

    @contextmanager
    def kept_awake() -> Iterator[None]:
        """Ask Windows (SetThreadExecutionState) not to sleep while the block lives."""
        ctypes.windll.kernel32.SetThreadExecutionState(_CONTINUOUS | _SYSTEM_REQUIRED)
        try:
            yield
        finally:
            ctypes.windll.kernel32.SetThreadExecutionState(_CONTINUOUS)

else:
    _COMMANDS = {
        # Both end by themselves with the process they were told of, however it ends.
        "darwin": ["caffeinate", "-i", "-w", str(os.getpid())],
        "linux": [
            *("systemd-inhibit", "--what=sleep:idle", "--who=bulksms", "--why=messages are being sent"),
            *("tail", "--follow", "/dev/null", f"--pid={os.getpid()}"),
        ],
    }

    @contextmanager
    def kept_awake() -> Iterator[None]:
        """Ask macOS (caffeinate) or systemd (systemd-inhibit) not to sleep while the block lives."""
        process = None
        with suppress(OSError, KeyError):
            process = subprocess.Popen(  # noqa: S603 - a fixed command
                _COMMANDS[sys.platform],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            yield
        finally:
            if process is not None:
                process.terminate()
                process.wait()
