"""Canonical text: numbers and members as Python and as JavaScript write them.

The tables hold what Node.js 20 prints for `JSON.stringify`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from looppause_sdk.errors import ProofInvalid, ProofMalformed
from looppause_sdk.proof import verify
from tests.vectors.signing import hmac_hex

SECRET = "a secret of the tests"

# A number, how JavaScript writes it, and how Python does.
NUMBERS: list[tuple[float, str, str]] = [
    (0.0, "0", "0.0"),
    (-0.0, "0", "-0.0"),
    (1.0, "1", "1.0"),
    (-1.5, "-1.5", "-1.5"),
    (100.0, "100", "100.0"),
    (0.1, "0.1", "0.1"),
    (0.30000000000000004, "0.30000000000000004", "0.30000000000000004"),
    (1234.5678, "1234.5678", "1234.5678"),
    (0.001, "0.001", "0.001"),
    (0.00003, "0.00003", "3e-05"),
    (0.000001, "0.000001", "1e-06"),
    (0.0000012, "0.0000012", "1.2e-06"),
    (1e-7, "1e-7", "1e-07"),
    (-1e-7, "-1e-7", "-1e-07"),
    (1.5e-7, "1.5e-7", "1.5e-07"),
    (1e16, "10000000000000000", "1e+16"),
    (9007199254740993.0, "9007199254740992", "9007199254740992.0"),
    (1e20, "100000000000000000000", "1e+20"),
    (123456789012345680000.0, "123456789012345680000", "1.2345678901234568e+20"),
    (999999999999999900000.0, "999999999999999900000", "9.999999999999999e+20"),
    (1e21, "1e+21", "1e+21"),
    (-1e21, "-1e+21", "-1e+21"),
    (1.5e21, "1.5e+21", "1.5e+21"),
    (12345678901234567890123.0, "1.2345678901234568e+22", "1.2345678901234568e+22"),
    (1e100, "1e+100", "1e+100"),
    (1.5e300, "1.5e+300", "1.5e+300"),
    (1.7976931348623157e308, "1.7976931348623157e+308", "1.7976931348623157e+308"),
    (2.2250738585072014e-308, "2.2250738585072014e-308", "2.2250738585072014e-308"),
    (5e-324, "5e-324", "5e-324"),
]

# Members as they may arrive, and the canonical text JavaScript signs: its objects put array
# indexes first and in the order of their value, and sort the rest by UTF-16 code unit.
ORDERS: dict[str, tuple[dict[str, Any], str]] = {
    "letters": ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
    "indexes by value": ({"10": 1, "9": 2, "a": 3}, '{"9":2,"10":1,"a":3}'),
    "indexes before the empty name": ({"": 1, "0": 2, "A": 3}, '{"0":2,"":1,"A":3}'),
    "the largest index": (
        {"10": 1, "9": 2, "4294967295": 3, "": 4, "4294967294": 5},
        '{"9":2,"10":1,"4294967294":5,"":4,"4294967295":3}',
    ),
    "no indexes": ({"01": 1, "1": 2, "-1": 3}, '{"1":2,"-1":3,"01":1}'),
    "astral before the end of the BMP": ({"ﬁ": 2, "😀": 1}, '{"😀":1,"ﬁ":2}'),
    "at every depth": (
        {"b": {"10": 2, "2": 1, "a": [{"z": 1, "y": 2}]}},
        '{"b":{"2":1,"10":2,"a":[{"y":2,"z":1}]}}',
    ),
    "separators and controls": (
        {"\u2028": "\u2028", "\x7f": "\x01"},
        '{"\x7f":"\\u0001","\u2028":"\u2028"}',
    ),
}


def _canonical(fields: str) -> str:
    """A whole canonical proof around the text of its `fields`."""
    return (
        '{"authorization_type":"human","decision":"approved",'
        f'"fields":{fields},"human_response":true,"pause_id":"pause_1"}}'
    )


def _message(canonical: str) -> str:
    """The canonical text with its signature added, as its signer would send it."""
    return f'{canonical[:-1]},"signature":"{hmac_hex(canonical, SECRET)}"}}'


def _members(fields: Any, canonical: str) -> dict[str, Any]:
    """The same message as a parsed mapping, whose floats have lost their literals."""
    return {
        "fields": fields,
        "pause_id": "pause_1",
        "decision": "approved",
        "authorization_type": "human",
        "human_response": True,
        "signature": hmac_hex(canonical, SECRET),
    }


@pytest.mark.parametrize("number, javascript, python", NUMBERS, ids=[row[1] for row in NUMBERS])
def test_a_number_in_a_parsed_mapping_is_tried_in_both_notations(
    number: float, javascript: str, python: str
) -> None:
    """A mapping says nothing of its literals, so either signer's text is recognised."""
    for literal in (javascript, python):
        message = _members({"n": number}, _canonical(f'{{"n":{literal}}}'))
        assert verify(message, secrets=SECRET).fields == {"n": number}


@pytest.mark.parametrize("column", [1, 2], ids=["javascript", "python"])
def test_all_numbers_of_a_mapping_are_in_one_notation(column: int) -> None:
    """A signer writes every number its own way, so the table as a whole verifies too."""
    text = ",".join(str(row[column]) for row in NUMBERS)
    numbers = [row[0] for row in NUMBERS]
    message = _members({"n": numbers}, _canonical(f'{{"n":[{text}]}}'))
    assert verify(message, secrets=SECRET).fields == {"n": numbers}


@pytest.mark.parametrize("literal", ["1e400", "-1e400", "NaN", "Infinity", "-Infinity"])
def test_a_number_no_float_can_hold_is_malformed_although_signed(literal: str) -> None:
    """No infinity reaches the agent by way of a form."""
    with pytest.raises(ProofMalformed):
        verify(_message(_canonical(f'{{"n":{literal}}}')), secrets=SECRET)


@pytest.mark.parametrize("number, javascript, python", NUMBERS, ids=[row[1] for row in NUMBERS])
def test_a_number_in_bytes_is_kept_as_it_was_written(
    number: float, javascript: str, python: str
) -> None:
    """Both notations verify from bytes, with the value intact."""
    for literal in (javascript, python):
        body = _message(_canonical(f'{{"n":{literal}}}')).encode()
        fields = verify(body, secrets=SECRET).fields
        assert fields is not None
        assert float(fields["n"]) == number


@pytest.mark.parametrize(
    "signed, sent",
    [
        ("1e-7", "1e-07"),
        ("1.0", "1"),
        ("1.50", "1.5"),
        ("1E5", "1e5"),
        ("0.0", "-0.0"),
    ],
)
def test_another_literal_than_the_signed_one_is_not_genuine(signed: str, sent: str) -> None:
    """From bytes nothing is guessed: what was received is what must have been signed."""
    canonical = _canonical(f'{{"n":{signed}}}')
    body = _message(canonical).replace(f'"n":{signed}', f'"n":{sent}')
    with pytest.raises(ProofInvalid):
        verify(body, secrets=SECRET)


def test_a_mapping_of_another_number_is_not_genuine() -> None:
    """Two notations are not two numbers."""
    with pytest.raises(ProofInvalid):
        verify(_members({"n": 1e-8}, _canonical('{"n":1e-7}')), secrets=SECRET)


@pytest.mark.parametrize("fields, text", ORDERS.values(), ids=ORDERS.keys())
@pytest.mark.parametrize("form", [bytes, str, dict])
def test_members_in_the_order_of_javascript_verify(
    fields: dict[str, Any], text: str, form: type
) -> None:
    """The order in which the members arrive plays no part."""
    mapping = _members(fields, _canonical(text))
    wire = json.dumps(mapping, ensure_ascii=False)
    bodies: dict[type, Any] = {bytes: wire.encode(), str: wire, dict: mapping}
    assert verify(bodies[form], secrets=SECRET).fields == fields


@pytest.mark.parametrize("fields", [row[0] for row in ORDERS.values()], ids=ORDERS.keys())
@pytest.mark.parametrize("ascii_only", [True, False])
def test_members_in_the_order_of_python_verify(fields: dict[str, Any], ascii_only: bool) -> None:
    """Python sorts by code point, and may or may not escape."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only)
    mapping = _members(fields, _canonical(text))
    assert verify(json.dumps(mapping), secrets=SECRET).fields == fields
