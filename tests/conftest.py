"""Settings of every test."""

import os
from pathlib import Path

# A command that a test starts in another folder imports this tree's package, installed or not.
_HERE = str(Path(__file__).resolve().parent.parent)
os.environ["PYTHONPATH"] = os.pathsep.join(
    part for part in (_HERE, os.environ.get("PYTHONPATH")) if part
)
