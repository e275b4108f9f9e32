-- Where a pause was last seen to hibernate, or was when its resume began.
select thread_id, interrupt_id, agent_id, asked_at
from pauses
where pause_id = %(pause_id)s and thread_id is not null and interrupt_id is not null
