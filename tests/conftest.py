"""Settings of every test."""

import os
from pathlib import Path

from hypothesis import HealthCheck, settings

# A command that a test starts in another folder imports this tree's package, installed or not.
_HERE = str(Path(__file__).resolve().parent.parent)
os.environ["PYTHONPATH"] = os.pathsep.join(
    part for part in (_HERE, os.environ.get("PYTHONPATH")) if part
)

# No test depends on how busy the machine is.
settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")
