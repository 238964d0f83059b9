"""``python -m flambeau script.py``: the same as the ``flambeau`` command."""

import sys

from flambeau.cli import main

sys.exit(main())
