-- Nothing more is done about a pause: its answer is kept, and no job takes it up again.
with discarded as (
    update pauses set
        state = 'discarded', outcome = 'discarded', finished_at = now(), next_attempt_at = null
    where pause_id = %(pause_id)s and state in ('parked', 'failed')
    returning pause_id
),
noted as (
    insert into events (pause_id, event, detail)
    select pause_id, 'discarded', %(detail)s::jsonb from discarded
)
select pause_id from discarded
