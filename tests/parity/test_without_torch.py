"""Without PyTorch the tests beside it are skipped, each with that reason, rather than failing to be collected."""

import subprocess
import sys
from pathlib import Path

BLOCKED = """
import sys
import pytest
sys.modules["torch"] = None
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/parity"]))
"""


def test_files_are_collected():
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", BLOCKED], cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr
