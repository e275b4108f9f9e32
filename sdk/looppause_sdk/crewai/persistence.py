"""Flow states and hibernating flows in PostgreSQL, where the receiver finds them.

    persistence = PostgresFlowPersistence("postgresql://...")
    RefundFlow(persistence=persistence).kickoff(inputs={"amount": 10})

The tables have a schema of their own, `looppause_flows`; `resumer migrate` creates it, or once
`persistence.init_db()`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from crewai.flow.async_feedback import PendingFeedbackContext
from crewai.flow.persistence import FlowPersistence
from psycopg.rows import DictRow, dict_row
from pydantic import BaseModel, PrivateAttr, Secret, SecretBytes, SecretStr
from pydantic_core import to_jsonable_python

from looppause_sdk._retry import parse_time
from looppause_sdk.errors import GateError, LoopPauseConfigError
from looppause_sdk.flow_tables import flow_lock, lock_key, statement
from looppause_sdk.secret_files import with_secret_files

__all__ = ["KEY", "FlowPause", "PostgresFlowPersistence", "stored_form"]

Loaded = tuple[dict[str, Any], PendingFeedbackContext]

KEY = "looppause"  # in a context's metadata: first what was asked, in the end the gate's result

_URL_VARIABLES = ("RESUMER_CHECKPOINT_URL", "RESUMER_DATABASE_URL", "DATABASE_URL")
_NO_TABLES = (
    "the database has no tables for flows: run `resumer migrate`, or "
    "PostgresFlowPersistence(database_url).init_db() once"
)


@dataclass(frozen=True)
class FlowPause:
    """A pause that a flow hibernates at, or has gone on from. `context` is CrewAI's own."""

    pause_id: str
    flow_id: str
    flow_class: str
    method_name: str
    is_ended: bool
    context: Mapping[str, Any] = field(default_factory=dict, repr=False)
    state: Mapping[str, Any] = field(default_factory=dict, repr=False)


class PostgresFlowPersistence(FlowPersistence):
    """Keeps flows in PostgreSQL, each pause until the run that it was answered for has ended.

    `database_url` is the agents' database, where the receiver looks for what hibernates: by
    default the first of `RESUMER_CHECKPOINT_URL`, `RESUMER_DATABASE_URL` and `DATABASE_URL` in the
    environment. It is in no repr and nothing that is stored. May be shared by threads and flows;
    each call has a connection of its own. Raises `LoopPauseConfigError` if there is no URL.

    State must be JSON, with what pydantic makes JSON of; a secret in it raises
    `LoopPauseConfigError`, for it would be stored, or come back masked: read it from the
    environment in the method that needs it. Only the latest state of a flow is kept.

    Traps: a flow that waits for LoopPause goes on by the receiver or `aresume_flow` alone:
    `Flow.from_pending` raises `GateError`, since it verifies nothing. Of several questions asked
    at the same time in one flow, CrewAI stores the first only.
    """

    persistence_type: str = "PostgresFlowPersistence"
    _database_url: str = PrivateAttr(default="")

    def __init__(self, database_url: str | None = None, **members: Any) -> None:
        super().__init__(**members)
        self._database_url = database_url or _url_from_environment()

    def init_db(self) -> None:
        """Create the tables: safe to repeat, and from several processes at once."""
        with self._connection() as connection, connection.transaction():
            connection.execute(statement("create_tables"))

    # -- what CrewAI calls -----------------------------------------------------------------

    def save_state(
        self, flow_uuid: str, method_name: str, state_data: dict[str, Any] | BaseModel
    ) -> None:
        """Keep the flow's state as it is after this method."""
        state = json.dumps(stored_form("state", state_data))
        self._run("save_state", flow_id=flow_uuid, method_name=method_name, state=state)

    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        """The flow's latest state, or None."""
        found = self._one("load_state", flow_id=flow_uuid)
        return found and found["state"]

    def save_pending_feedback(
        self,
        flow_uuid: str,
        context: PendingFeedbackContext,
        state_data: dict[str, Any] | BaseModel,
    ) -> None:
        """Store that the flow hibernates here; what it went on from before is ended with it."""
        asked = _asked(context.metadata) or {}
        self._run(
            "save_pause",
            pause_id=asked.get("pause_id"),
            agent_id=asked.get("agent_id"),
            expires_at=parse_time(asked.get("expires_at")),
            flow_id=flow_uuid,
            flow_class=context.flow_class,
            method_name=context.method_name,
            context=json.dumps(stored_form("context", context.to_dict())),
            state=json.dumps(stored_form("state", state_data)),
        )

    def load_pending_feedback(self, flow_uuid: str) -> Loaded | None:
        """What another provider's question waits with. Raises `GateError` for one of LoopPause."""
        found = self._one("load_pending", flow_id=flow_uuid)
        if found is None:
            return None
        if found["pause_id"] is not None:
            raise GateError(
                f"flow {flow_uuid} waits for LoopPause's answer to {found['pause_id']}: it goes on "
                "by the receiver, or by aresume_flow with the signed proof"
            )
        return found["state"], PendingFeedbackContext.from_dict(found["context"])

    def clear_pending_feedback(self, flow_uuid: str) -> None:
        """Forget what another provider had asked; LoopPause's pauses end with their runs."""
        self._run("clear_pending", flow_id=flow_uuid)

    # -- what gates and resumers call ------------------------------------------------------

    def visit(self, flow_id: str, method_name: str) -> tuple[str, int]:
        """What tells this visit of a gate from all others, and a rerun of it does not change."""
        found = self._one("visit", flow_id=flow_id, method_name=method_name)
        if found is None:
            raise RuntimeError("visit.sql returns one row")
        return found["visit_key"], found["visit"]

    def find(self, pause_id: str) -> FlowPause | None:
        """The pause as a flow has stored it, or None."""
        found = self._one("find", pause_id=pause_id)
        return FlowPause(**found) if found else None

    def claim(self, pause_id: str) -> bool:
        """Note that the flow goes on from this pause; False if it has ended before."""
        return self._one("claim", pause_id=pause_id) is not None

    def end(self, pause_id: str) -> None:
        """Forget what the pause held: the run that it was answered for has ended."""
        self._run("end_pause", pause_id=pause_id)

    @contextmanager
    def alone(self, flow_id: str) -> Iterator[bool]:
        """Yield whether nobody else resumes the flow; nobody else will within the body.

        The receiver takes the same lock. It dies with its connection, and so with the process.
        """
        with self._connection() as connection, connection.transaction():
            query = "select pg_try_advisory_xact_lock(%s, %s) as yes"
            found = connection.execute(query, lock_key(flow_lock(flow_id))).fetchone()
            yield bool(found and found["yes"])

    def answering(self, pause: FlowPause, context: PendingFeedbackContext) -> FlowPersistence:
        """The same, for the one run that goes on from `pause` with the answer in `context`."""
        return _Answering(self._database_url, (dict(pause.state), context))

    def _one(self, name: str, **parameters: Any) -> dict[str, Any] | None:
        with self._connection() as connection:
            return connection.execute(statement(name), parameters).fetchone()

    def _run(self, name: str, **parameters: Any) -> None:
        with self._connection() as connection:
            connection.execute(statement(name), parameters)

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[DictRow]]:
        url = self._database_url
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            try:
                yield connection
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
                raise LoopPauseConfigError(_NO_TABLES) from error


class _Answering(PostgresFlowPersistence):
    """The persistence of one resumed run: CrewAI loads the judged answer from it."""

    _loaded: Loaded | None = PrivateAttr(default=None)

    def __init__(self, database_url: str | None = None, loaded: Loaded | None = None) -> None:
        super().__init__(database_url)
        self._loaded = loaded

    def load_pending_feedback(self, flow_uuid: str) -> Loaded | None:  # noqa: ARG002  # its one flow
        """The state the flow hibernated with, and the answer."""
        return self._loaded

    def clear_pending_feedback(self, flow_uuid: str) -> None:
        """CrewAI calls this before the next method has run: a crash there must lose nothing."""


def stored_form(what: str, value: Any) -> Any:
    """`value` as it comes back from the database. Raises `LoopPauseConfigError`, naming it."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    _refuse_secrets(what, value)
    try:
        return json.loads(json.dumps(to_jsonable_python(value), allow_nan=False))
    except (ValueError, TypeError, RecursionError) as error:
        raise LoopPauseConfigError(
            f"the flow's {what} cannot be stored ({error}): keep to what JSON has"
        ) from error


def _refuse_secrets(what: str, value: Any) -> None:
    if isinstance(value, (Secret, SecretStr, SecretBytes)):
        raise LoopPauseConfigError(
            f"the flow's {what} holds a secret, which must not be stored: read it from the "
            "environment in the method that needs it"
        )
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    inside = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        for item in inside:
            _refuse_secrets(what, item)


def _asked(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    asked = metadata.get(KEY)
    return asked if isinstance(asked, Mapping) and "pause_id" in asked else None


def _url_from_environment() -> str:
    env, faults = with_secret_files(os.environ, _URL_VARIABLES)
    if faults:
        raise LoopPauseConfigError("; ".join(faults))
    for variable in _URL_VARIABLES:
        if url := env.get(variable, "").strip():
            return url
    raise LoopPauseConfigError(
        f"PostgresFlowPersistence needs a database_url, or one of {', '.join(_URL_VARIABLES)}"
    )
