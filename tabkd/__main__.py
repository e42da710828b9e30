"""``python -m tabkd``."""

from tabkd.cli import main

if __name__ == "__main__":
    main()
