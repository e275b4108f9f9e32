"""CrewAI, imported with nothing sent anywhere; import this before whatever imports it."""

from __future__ import annotations

import os
import warnings

# Read while crewai is imported.
os.environ.update(
    CREWAI_DISABLE_TELEMETRY="true",
    CREWAI_DISABLE_TRACKING="true",
    OTEL_SDK_DISABLED="true",
    CREWAI_TRACING_ENABLED="false",
    CREWAI_TESTING="true",
)

with warnings.catch_warnings():
    # What crewai and its dependencies warn of while they are imported is theirs to mend.
    for category in (DeprecationWarning, ImportWarning):
        warnings.simplefilter("ignore", category)
    import crewai  # noqa: F401
