"""``python -m fastnn``: the command without the script."""

from fastnn.cli import main

raise SystemExit(main())
