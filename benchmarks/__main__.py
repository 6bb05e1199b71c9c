"""`python -m benchmarks NAME …` runs one benchmark; without a name it lists them."""

import importlib
import pkgutil
import sys
from pathlib import Path

HELPERS = {"__main__", "http_server", "measuring", "messages", "model_server"}
NAMES = sorted({module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])} - HELPERS)


def main() -> int:
    """Run the benchmark that the first argument names; the exit code."""
    if len(sys.argv) > 1 and sys.argv[1] in NAMES:
        name = sys.argv.pop(1)
        return int(importlib.import_module(f"benchmarks.{name}").main() or 0)
    for name in NAMES:
        first, _, _ = (importlib.import_module(f"benchmarks.{name}").__doc__ or "").partition("\n")
        print(f"python -m benchmarks {name:<12} {first.partition(': ')[2]}")
    return 0 if len(sys.argv) == 1 else 2


if __name__ == "__main__":
    sys.exit(main())
