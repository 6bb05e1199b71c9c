"""The benchmarks stand beside the package and are not installed with it; they are measured where POSIX is."""

import sys
from pathlib import Path

# At the end: the package that is tested stays the one that is installed.
sys.path.append(str(Path(__file__).parents[2]))

collect_ignore_glob = ["test_*.py"] if sys.platform == "win32" else []
