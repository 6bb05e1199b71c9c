"""Where a test can run: one mark for each thing that a platform lacks, with its reason."""

import os
import sys

import pytest

IS_WINDOWS = sys.platform == "win32"

on_terminals = pytest.mark.skipif(IS_WINDOWS, reason="Windows has no pseudo-terminals")
with_posix_signals = pytest.mark.skipif(IS_WINDOWS, reason="Windows has neither SIGKILL nor SIGTERM")
with_posix_files = pytest.mark.skipif(IS_WINDOWS, reason="Windows has other rights, devices, links and file locks")
with_posix_shell = pytest.mark.skipif(IS_WINDOWS, reason="Windows has another shell, which quotes differently")
with_rights_that_hold = pytest.mark.skipif(
    IS_WINDOWS or os.geteuid() == 0, reason="rights of files do not hold the superuser back, and Windows has others"
)
