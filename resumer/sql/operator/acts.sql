-- What was done to these pauses, each by itself or among others, and to the agents that asked them.
select id, at, who, action, target, detail - 'pause_ids' as detail, detail -> 'pause_ids' as pause_ids
from audit
where target = any(%(targets)s) or detail -> 'pause_ids' ?| %(pause_ids)s
order by id
