"""Programs as users write them, with all types on: mypy finds nothing in them (``make typecheck``), and they run (``tests/test_typed.py``)."""
