"""`python -m poller` is `poller`."""

from poller.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
