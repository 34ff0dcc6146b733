"""Keeps mlflow quiet in tests that import it before the plugin does."""

from __future__ import annotations

import os

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
