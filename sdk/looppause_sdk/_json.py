"""JSON read strictly, and written back as each kind of signer writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .errors import ProofMalformed

__all__ = ["NumberStyle", "canonical_texts", "parse", "parse_object", "plain"]

MAX_DEPTH = 64

NumberStyle = Callable[[float], str]


class _Number(float):
    """A number with a fraction or an exponent, and the literal it was written as."""

    literal: str


def parse(body: bytes | str | Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[NumberStyle]]:
    """Return the object in `body` and the ways its numbers may have been written.

    Raises `ProofMalformed` for anything but one JSON object of bounded depth.
    """
    if isinstance(body, Mapping):
        return _bounded(dict(body)), (float.__repr__, _javascript_number)
    if not isinstance(body, (bytes, bytearray, str)):
        raise ProofMalformed(f"a proof is a JSON object, not {type(body).__name__}")
    return parse_object(body), (_as_written,)


def parse_object(text: bytes | bytearray | str) -> dict[str, Any]:
    """Decode one JSON object: UTF-8, each member once, no NaN, bounded depth."""
    try:
        decoded = text if isinstance(text, str) else bytes(text).decode("utf-8")
        return _bounded(_DECODER.decode(decoded))
    except RecursionError as error:
        raise ProofMalformed("not usable JSON: nested too deep") from error
    except ValueError as error:
        raise ProofMalformed(f"not usable JSON: {str(error)[:120]}") from error


def plain(value: Any) -> Any:
    """The same value with ordinary floats, fit for a checkpoint."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, _Number) else value


def canonical_texts(value: dict[str, Any], styles: Sequence[NumberStyle]) -> Iterable[bytes]:
    """Each text a signer may have signed for `value`, the likely ones first.

    Python escapes non-ASCII characters and sorts members by code point; JavaScript writes them
    raw, has its own notation for numbers, and its objects put array indexes first.
    """
    seen: set[str] = set()
    for style in styles:
        for ascii_only, order in ((True, None), (False, None), (False, _javascript_order)):
            try:
                text = _canonical(value, style, ascii_only=ascii_only, order=order)
                if text not in seen:
                    seen.add(text)
                    yield text.encode("utf-8")
            except (TypeError, ValueError, RecursionError):
                continue  # a lone surrogate, or a mapping that is not JSON: nobody signed that


def _bounded(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProofMalformed("a proof is a JSON object")
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        container, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ProofMalformed(f"nested more than {MAX_DEPTH} levels deep")
        inner = container.values() if isinstance(container, dict) else container
        pending.extend((item, depth + 1) for item in inner if isinstance(item, (dict, list)))
    return value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _number(literal: str) -> _Number:
    number = _Number(literal)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    number.literal = literal
    return number


def _no_constant(literal: str) -> Any:
    raise ValueError(f"{literal} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_members, parse_float=_number, parse_constant=_no_constant
)


def _canonical(
    value: Any,
    style: NumberStyle,
    *,
    ascii_only: bool,
    order: Callable[[str], Any] | None,
) -> str:
    if order is None and not _has_float(value):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only)

    def write(item: Any) -> str:
        if isinstance(item, dict):
            members = (f"{write(key)}:{write(item[key])}" for key in sorted(item, key=order))
            return "{" + ",".join(members) + "}"
        if isinstance(item, (list, tuple)):
            return "[" + ",".join(map(write, item)) + "]"
        if isinstance(item, float):
            return style(item)
        return json.dumps(item, ensure_ascii=ascii_only)

    return write(value)


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_float, value))
    return isinstance(value, float)


def _as_written(number: float) -> str:
    return number.literal if isinstance(number, _Number) else float.__repr__(number)


def _javascript_number(number: float) -> str:
    """`Number::toString` of ECMA-262 for a finite number, from the same shortest digits."""
    sign, digits, exponent = _shortest_digits(number)
    point = exponent + len(digits)
    if not digits:
        return "0"
    if len(digits) <= point <= 21:
        text = digits + "0" * (point - len(digits))
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = digits[0] + (f".{digits[1:]}" if digits[1:] else "") + f"e{point - 1:+d}"
    return sign + text


def _shortest_digits(number: float) -> tuple[str, str, int]:
    mantissa, _, exponent = float.__repr__(number).partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    trimmed = digits.rstrip("0")
    return sign, trimmed, int(exponent or 0) - len(fraction) + len(digits) - len(trimmed)


def _javascript_order(key: str) -> tuple[int, int, bytes]:
    """Where ECMAScript puts a member: array indexes by number, the rest by UTF-16 code unit."""
    if _ARRAY_INDEX.fullmatch(key) and int(key) < 2**32 - 1:
        return (0, int(key), b"")
    return (1, 0, key.encode("utf-16-be", "surrogatepass"))


_ARRAY_INDEX = re.compile("0|[1-9][0-9]{0,9}", re.ASCII)
