-- Every agent whose threads run or are due: read from the index of what is not over.
select
    agent_id,
    count(*) filter (where state = 'resuming') as running,
    count(*) filter (where state <> 'resuming') as due
from pauses
where state in ('answered', 'resuming', 'failed') and agent_id is not null
group by agent_id
