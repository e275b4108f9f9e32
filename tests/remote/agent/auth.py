"""Who is let into the LangGraph server of these tests."""

from __future__ import annotations

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> str:
    if headers.get(b"x-api-key") != b"the-key-of-the-server":
        raise Auth.exceptions.HTTPException(status_code=401, detail="who are you?")
    return "resumer"
