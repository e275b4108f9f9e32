"""`resumer doctor`, one module for each thing it looks at."""

from __future__ import annotations

from .command import doctor
from .finding import Finding
from .subject import Subject, subject_from

__all__ = ["Finding", "Subject", "doctor", "subject_from"]
