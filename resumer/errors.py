"""Every error of the receiver, in one tree; each says what to do about it.

ResumerError
├── SettingsError      settings are missing or wrong: mend and restart
├── DatabaseNotReady   the database is away, or `resumer migrate` has not run: 503, try later
├── PoolerRefused      a transaction pooler stands before the database: connect directly
├── GraphNotLoaded     a registered graph or flow cannot be loaded: mend the code or the setting
├── GraphAmbiguous     a thread could be of several graphs: name the graph in the gate
├── RemoteAway         a LangGraph server is away for the moment: try again later
├── RemoteRefused      a LangGraph server lets nobody in: mend the key or the address
├── ServerNotStarted   the address cannot be had: choose another
├── TooManyWaiting     no more clients can wait in this process: 503, ask again later
└── LockLost           the lock's connection died: stop what runs under it, try again
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "DatabaseNotReady",
    "GraphAmbiguous",
    "GraphNotLoaded",
    "GraphRaised",
    "LockLost",
    "PoolerRefused",
    "RemoteAway",
    "RemoteRefused",
    "ResumerError",
    "ServerNotStarted",
    "SettingsError",
    "TooManyWaiting",
]


class ResumerError(Exception):
    """Root of every error the receiver raises."""


class SettingsError(ResumerError, ValueError):
    """Settings that cannot be used, all of them at once."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("the settings cannot be used:\n" + "\n".join(f"  - {f}" for f in faults))


class DatabaseNotReady(ResumerError):
    """The database is away or has not been migrated; nothing was lost, try again later."""


class PoolerRefused(ResumerError):
    """Session locks do not hold behind a transaction pooler; a direct connection is needed."""


class GraphNotLoaded(ResumerError):
    """A registered graph or flow cannot be loaded; the message names it and says why."""


class GraphAmbiguous(ResumerError):
    """A thread could be of several registered graphs; the message names them."""


class GraphRaised(ResumerError):
    """A graph raised before it asked anybody; the message has its error."""


class RemoteAway(ResumerError, ConnectionError):
    """A LangGraph server does not answer, or not for the moment; nothing was lost."""


class RemoteRefused(ResumerError):
    """A LangGraph server refuses what it is asked, or is none; the message says what it said."""


class ServerNotStarted(ResumerError):
    """The address to serve on cannot be had."""


class TooManyWaiting(ResumerError):
    """No more clients can wait for answers in this process."""


class LockLost(ResumerError):
    """The connection that holds the thread's lock died; the run under it was stopped."""
