"""The files that secrets come from: can anybody else read them?"""

from __future__ import annotations

from looppause_sdk.secret_files import SecretFiles
from resumer.environment import SECRETS

from .finding import Finding, ok, warn
from .subject import Subject

__all__ = ["check_secret_files"]

CHECK = "secret files"


def check_secret_files(subject: Subject) -> Finding | None:
    """None where there are none; those that cannot be read are faults of the settings."""
    files = SecretFiles.named_in(subject.env, SECRETS)
    if not files.paths:
        return None
    if found := files.open_to_all():
        return warn(
            CHECK,
            f"every user of this machine can read {', '.join(found)}",
            "chmod 0400 (or 0440 with a group); in Kubernetes defaultMode: 0440 and fsGroup",
        )
    return ok(CHECK, f"{len(files.paths)}, for nobody else's eyes; keys and tokens in them rotate")
