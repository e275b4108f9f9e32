"""Retention by itself: what the workers prune from time to time, by the settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from .archive import Archive
from .retention import Retention
from .settings import Settings
from .telemetry import get_logger

__all__ = ["WAITS", "Pruning"]

WHO = "retention"
WAITS = (
    "set RESUMER_AUDIT_DIR to a folder that what is pruned is written to, or "
    "RESUMER_RETENTION_WITHOUT_EXPORT=1 to have it deleted without, or RESUMER_RETENTION_DAYS=0 "
    "to keep everything"
)

log = get_logger()


@dataclass(frozen=True)
class Pruning:
    """One run after another; `days` is how long what has ended is kept, 0 for ever."""

    retention: Retention
    days: float
    archive: Archive | None = None
    without_export: bool = False

    @classmethod
    def of(cls, settings: Settings, retention: Retention) -> Pruning:
        """As the settings have it."""
        archive = Archive(Path(settings.audit_dir)) if settings.audit_dir else None
        return cls(retention, settings.retention_days, archive, settings.retention_without_export)

    async def run(self) -> int:
        """Prune what is due, as much as one run may; return how many pauses went.

        An archive that cannot be written stops it, is logged and shown by `resumer doctor`. Raises
        only what the database raises.
        """
        now = self.retention.clock()
        pruned, problem = 0, None
        if self.days > 0:
            pruned, problem = await self._prune(now - timedelta(days=self.days))
        await self.retention.housekeeping(now - timedelta(days=self.days or 36_500))
        await self._note(problem)
        return pruned

    async def _prune(self, before: datetime) -> tuple[int, str | None]:
        if self.archive is None and not self.without_export:
            await self._tell_what_waits(before)
            return 0, None
        pruned, problem = 0, None
        try:
            async for batch in self.retention.pauses(before, self.archive):
                pruned += batch.pauses
            await self.retention.acts(before, self.archive)
        except OSError as error:
            problem = f"RESUMER_AUDIT_DIR cannot be written: {error}"
            log.error(
                "retention_stopped", reason=problem, advice="nothing more is deleted until it can"
            )
        if pruned:
            place = str(self.archive.place) if self.archive else None
            await self.retention.told(
                WHO, {"pauses": pruned, "before": before.isoformat(), "exported_to": place}
            )
            log.info("pruned", pauses=pruned, before=before.isoformat(), exported_to=place)
        return pruned, problem

    async def _tell_what_waits(self, before: datetime) -> None:
        """Once a day, over all replicas."""
        waiting = await self.retention.count(before)
        if waiting and await self._is_first_today():
            log.warning("retention_waits", pauses=waiting, before=before.isoformat(), advice=WAITS)

    async def _is_first_today(self) -> bool:
        async with self.retention.pool.connection() as connection:
            cursor = await connection.execute(
                "update retention set told_at = now()"
                " where coalesce(told_at, '-infinity') < now() - interval '1 day'"
                " returning only_row"
            )
            return await cursor.fetchone() is not None

    async def _note(self, problem: str | None) -> None:
        async with self.retention.pool.connection() as connection:
            await connection.execute(
                "update retention set ran_at = now(), problem = %s", (problem,)
            )
