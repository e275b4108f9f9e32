"""Are the keys there, and are they hard to guess?"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from looppause_sdk.proof import key_id, load_public_key

from .finding import Finding, fail, ok, warn
from .subject import Subject

__all__ = ["check_keys", "strength_bits"]

CHECK = "signing keys"
WEAK_BITS = 64
STRONG_BITS = 96
MAKE_ONE = (
    "have LoopPause issue a new one, and keep both in LOOPPAUSE_SIGNING_SECRETS until the old one "
    "is no longer used"
)

# What stands in examples where a secret belongs; none of it makes one harder to guess.
_PLACEHOLDERS = re.compile(
    "change[-_ ]?(?:me|it|this)|replace[-_ ]?(?:me|this)?|placeholder|example|password|secret"
    "|signing|webhook|looppause|whsec|your|here|please|dummy|sample|default|test|key|todo|xxx+"
    "|insert|admin|hunter2|qwerty|letmein|0?123456789?0?|abcdef(?:gh)?",
    re.IGNORECASE,
)


def check_keys(subject: Subject) -> Iterator[Finding]:
    """One finding for each key; that there is none is a fault of the settings."""
    yield from map(_judge, subject.secrets)
    for key in subject.public_keys:
        yield ok(CHECK, f"Ed25519 public key {key_id(load_public_key(key))}")


def _judge(secret: str) -> Finding:
    bits = strength_bits(secret)
    name = f"HMAC secret {key_id(secret)}, {len(secret)} characters"
    if bits < WEAK_BITS:
        danger = "a placeholder, or short enough to guess: whoever does can approve anything"
        return fail(CHECK, f"{name}: {danger}", MAKE_ONE)
    if bits < STRONG_BITS:
        return warn(CHECK, f"{name}: weaker than it should be", MAKE_ONE)
    return ok(CHECK, f"{name}, strong")


def strength_bits(secret: str) -> float:
    """About how many bits there are to guess, once what stands in every example is taken out.

    An upper bound: letters in an order somebody thought of are easier than that.
    """
    rest = _PLACEHOLDERS.sub("", secret)
    counts = Counter(rest).values()
    return -sum(count * math.log2(count / len(rest)) for count in counts)
