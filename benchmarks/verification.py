"""What it costs that a proof is read strictly: `verify` against the bare libraries.

    python3 -m uv run benchmarks/verification.py --rounds 60

Each pair takes the same proofs as the bytes of a webhook, in turns of a few milliseconds. `verify`
gives a whole `Proof`: each member once, bounded depth, numbers as they were written, one key of
several, members checked and named. The other side does what no program can do without:

- HMAC: `json.loads`, `json.dumps` in canonical form, `hmac.new`, `hmac.compare_digest`, as
  https://docs.python.org/3/library/hmac.html has it, and nothing else;
- Ed25519, `alone`: the signature over a text that lies ready, under a key that is loaded, as
  https://cryptography.io/en/latest/hazmat/primitives/asymmetric/ed25519/ has it;
- Ed25519, `parsed`: the same, with `json.loads` of the envelope and of what was signed.

Prints proofs a second, and the medians of the ratios of the rounds. Writes `verification.json`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from benchmarks.report import report
from looppause_sdk.proof import Proof, load_public_key, verify
from looppause_sdk.testing import FakeLoopPause

PROOFS = 100
SECRET = "whsec_for_the_benchmark_and_nothing_else"  # noqa: S105  (of no use elsewhere)
FORM = {"limit": 12450, "rate": 99.5, "cost_center": "Büro 7", "seen": ["offer", "contract"]}

Side = Callable[[bytes], Any]


def main(rounds: int) -> None:
    """Each pair in turns, round by round."""
    result: dict[str, Any] = {"rounds": rounds, "proofs_per_round": PROOFS}
    for kind, answer in {"approval": {}, "approval_with_form": {"fields": FORM}}.items():
        signed = FakeLoopPause(secret=SECRET)
        bodies = [json.dumps(proof).encode() for proof in proofs(signed, answer)]
        ours: Side = partial(verify, secrets=[SECRET])
        result[f"hmac_{kind}"] = compare(rounds, bodies, ours, {"alone": hmac_alone})
        result[f"ed25519_{kind}"] = compare_ed25519(rounds, answer)
        result[f"fingerprint_{kind}_us"] = fingerprint_time(bodies)
    report("verification", result)


def compare_ed25519(rounds: int, answer: dict[str, Any]) -> dict[str, Any]:
    """Ours against both ways to count what cannot be done without."""
    signed = FakeLoopPause(scheme="ed25519")
    bodies = [json.dumps(proof).encode() for proof in proofs(signed, answer)]
    key = load_public_key(signed.public_key)
    ready = {}
    for body in bodies:
        envelope = json.loads(body)
        text = envelope["canonical_payload"].encode()
        ready[body] = (base64.b64decode(envelope["signature"]), text)

    def alone(body: bytes) -> None:
        key.verify(*ready[body])

    def parsed(body: bytes) -> Any:
        envelope = json.loads(body)
        text = envelope["canonical_payload"].encode()
        key.verify(base64.b64decode(envelope["signature"]), text)
        return json.loads(text)

    ours: Side = partial(verify, public_keys=[signed.public_key])
    return compare(rounds, bodies, ours, {"alone": alone, "parsed": parsed})


def hmac_alone(body: bytes) -> dict[str, Any]:
    """The canonical text as wire.md of LoopPause's client has it, and its HMAC."""
    proof: dict[str, Any] = json.loads(body)
    given = proof.pop("signature")
    text = json.dumps(proof, sort_keys=True, separators=(",", ":"))
    made = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(given, made):
        raise ValueError("not genuine")
    return proof


def proofs(looppause: FakeLoopPause, answer: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Genuine approvals, each of a pause of its own, as LoopPause delivers them."""
    for number in range(PROOFS):
        asked = looppause.create(
            {
                "agent_id": "procurement",
                "action": {"type": "payment", "description": "Pay", "details": {"no": number}},
                "recipients": [{"channel": "slack", "target": "#finance"}],
            }
        )
        pause_id = str(asked["pause_id"])
        yield looppause.decide(pause_id, comment="within the budget", channel="slack", **answer)


def compare(
    rounds: int, bodies: list[bytes], ours: Side, baselines: dict[str, Side]
) -> dict[str, Any]:
    """Proofs a second on each side, and how much of each baseline ours reaches."""
    sides = {"verify": ours, **baselines}
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            taken[name].append(timed(side, bodies))
    result: dict[str, Any] = {
        f"{name}_per_second": round(len(bodies) / statistics.median(times))
        for name, times in taken.items()
    }
    for name in baselines:
        pairs = zip(taken[name], taken["verify"], strict=True)
        result[f"ratio_to_{name}"] = round(statistics.median(base / own for base, own in pairs), 3)
    return result


def timed(side: Side, bodies: list[bytes]) -> float:
    """Seconds for each body once."""
    start = time.perf_counter()
    for body in bodies:
        side(body)
    return time.perf_counter() - start


def fingerprint_time(bodies: list[bytes]) -> float:
    """Microseconds for one fingerprint, which the receiver takes of each verified proof."""
    verified: list[Proof] = [verify(body, secrets=SECRET) for body in bodies]
    start = time.perf_counter()
    for proof in verified:
        _ = proof.fingerprint
    return round((time.perf_counter() - start) / len(verified) * 1e6, 2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    main(parser.parse_args().rounds)
