-- A client that waited for the answer has taken it.
with collected as (
    update pauses set collected_at = now()
    where pause_id = %(pause_id)s and body is not null and collected_at is null
    returning pause_id
)
insert into events (pause_id, event) select pause_id, 'collected' from collected
