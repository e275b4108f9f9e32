-- Agents that are held, and how many of their threads still run.
select
    agent_id, held_at, held_by, reason,
    (
        select count(*) from pauses
        where pauses.state = 'resuming'
        and pauses.reason_code is distinct from 'held'
        and holds.agent_id in (pauses.agent_id, '*')
    ) as running
from holds
order by agent_id
