"""``python -m twofold`` is the command line."""

from twofold.cli import main

main()
