"""JSON read strictly, and written back as each kind of signer writes it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from .errors import ProofMalformed

__all__ = ["Writer", "canonical_text", "parse", "parse_object", "plain"]

MAX_DEPTH = 64

Writer = Callable[[dict[str, Any]], str]


class _Number(float):
    """A number that was written in another way than Python would write it."""

    literal: str


def parse(body: bytes | str | Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[Writer]]:
    """Return the object in `body` and the ways its signer may have written it.

    Raises `ProofMalformed` for anything but one JSON object of bounded depth.
    """
    if isinstance(body, (bytes, bytearray, str)):
        return _read(body)
    if not isinstance(body, Mapping):
        raise ProofMalformed(f"a proof is a JSON object, not {type(body).__name__}")
    try:
        value = _copy(dict(body))
    except RecursionError as error:
        raise ProofMalformed("not usable JSON: nested too deep") from error
    _has_literals(value)
    return value, (*AS_PYTHON, *AS_JAVASCRIPT)


def parse_object(text: bytes | bytearray | str) -> dict[str, Any]:
    """Decode one JSON object: UTF-8, each member once, no NaN, bounded depth."""
    return _read(text)[0]


def plain(value: dict[str, Any], writers: Sequence[Writer] | None = None) -> dict[str, Any]:
    """The same object with ordinary floats, fit for a checkpoint; `writers` as `parse` told."""
    kept = _has_literals(value) if writers is None else writers is AS_WRITTEN
    return _copy(value) if kept else value


def canonical_text(value: dict[str, Any], write: Writer) -> bytes | None:
    """What a signer who writes like this has signed; None where it cannot be written."""
    try:
        return write(value).encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        return None  # a lone surrogate, or a mapping that is not JSON: nobody signed that


# -- reading ---------------------------------------------------------------------------------


def _read(text: bytes | bytearray | str) -> tuple[dict[str, Any], Sequence[Writer]]:
    try:
        decoded = (text if isinstance(text, str) else str(text, "utf-8")).strip(" \t\n\r")
        value, end = _DECODER.raw_decode(decoded)
        if end != len(decoded):
            raise ValueError(f"something follows at character {end}")
    except RecursionError as error:
        raise ProofMalformed("not usable JSON: nested too deep") from error
    except ValueError as error:
        raise ProofMalformed(f"not usable JSON: {str(error)[:120]}") from error
    if not isinstance(value, dict):
        raise ProofMalformed("a proof is a JSON object")
    return value, AS_WRITTEN if _has_literals(value) else AS_PYTHON


def _has_literals(value: Any, depth: int = 1) -> bool:
    """Whether a `_Number` is in it; raises `ProofMalformed` if it is nested too deep."""
    items = value.values() if isinstance(value, dict) else value
    if _LOOKED_AT.isdisjoint(map(type, items)):
        return False
    found = False
    for item in items:
        kind = type(item)
        if kind is dict or kind is list:
            if depth == MAX_DEPTH:
                raise ProofMalformed(f"nested more than {MAX_DEPTH} levels deep")
            found = _has_literals(item, depth + 1) or found
        elif kind is _Number:
            found = True
    return found


_LOOKED_AT = {dict, list, _Number}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return float(value) if isinstance(value, _Number) else value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _number(literal: str) -> float:
    number = float(literal)
    if repr(number) == literal:
        return number
    if math.isinf(number):
        raise ValueError("a number is too large")
    kept = _Number(number)
    kept.literal = literal
    return kept


def _no_constant(literal: str) -> Any:
    raise ValueError(f"{literal} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_members, parse_float=_number, parse_constant=_no_constant
)


# -- writing ---------------------------------------------------------------------------------


def _encoder(*, ascii_only: bool) -> Writer:
    encoder = json.JSONEncoder(
        sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only, allow_nan=False
    )
    c_make_encoder = getattr(json.encoder, "c_make_encoder", None)
    if c_make_encoder is None:  # another Python than CPython
        return encoder.encode
    # `encode` makes this anew for each call, which takes half as long as writing a proof.
    write = c_make_encoder(
        markers=None,
        default=encoder.default,
        encoder=encode_basestring_ascii if ascii_only else encode_basestring,
        indent=None,
        key_separator=":",
        item_separator=",",
        sort_keys=True,
        skipkeys=False,
        allow_nan=False,
    )
    return lambda value: "".join(write(value, 0))


def _written(
    value: Any,
    number: Callable[[float], str],
    order: Callable[[str], Any] | None = None,
    *,
    ascii_only: bool = False,
) -> str:
    """As the encoder writes it, but for the notation of numbers and the order of members."""

    def write(item: Any) -> str:
        if isinstance(item, dict):
            members = (f"{write(key)}:{write(item[key])}" for key in sorted(item, key=order))
            return "{" + ",".join(members) + "}"
        if isinstance(item, (list, tuple)):
            return "[" + ",".join(map(write, item)) + "]"
        if isinstance(item, float):
            return number(item)
        return json.dumps(item, ensure_ascii=ascii_only)

    return write(value)


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


def _writers(number: Callable[[float], str]) -> tuple[Writer, ...]:
    """Python escapes non-ASCII characters and sorts members by code point.

    JavaScript writes them raw, and its objects put array indexes first.
    """
    return (
        partial(_written, number=number, ascii_only=True),
        partial(_written, number=number),
        partial(_written, number=number, order=_javascript_order),
    )


AS_WRITTEN = _writers(_as_written)
AS_JAVASCRIPT = _writers(_javascript_number)
AS_PYTHON = (
    _encoder(ascii_only=True),
    _encoder(ascii_only=False),
    *_writers(float.__repr__)[2:],
)
