"""`python -m tests.conformance`: write the conformance section of the README anew."""

from __future__ import annotations

import sys

from tests.conformance.proofs import Shown, collected
from tests.conformance.table import README, write


def main() -> int:
    shown = Shown(collected())
    for name in shown.unknown():
        print(f"{name}: a test is marked with it, and it is no claim", file=sys.stderr)
    for name in shown.unproven():
        print(f"{name}: no test shows it", file=sys.stderr)
    print(f"{README.name}: {'written' if write(shown) else 'up to date'}")
    return 1 if shown.unknown() or shown.unproven() else 0


if __name__ == "__main__":
    sys.exit(main())
