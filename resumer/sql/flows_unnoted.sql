-- Pauses without an answer that the sweep does not know of; after some hours it is told once
-- more, for its own tables may have been lost.
select
    pause_id, flow_id as thread_id, method_name as interrupt_id, agent_id, asked_at, expires_at,
    context #> '{metadata,looppause}' as asked
from looppause_flows.pauses
where ended_at is null and started_at is null and pause_id is not null
and (noted_at is null or noted_at < now() - interval '6 hours')
order by noted_at nulls first
limit %(limit)s
