"""CrewAI comes in with its conftest, before any test module."""

from __future__ import annotations

import tests.quiet_crewai  # noqa: F401
