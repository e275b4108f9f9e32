select
    pause_id, flow_id, flow_class, method_name, agent_id, asked_at,
    ended_at is not null as is_ended, context #> '{metadata,looppause}' as asked,
    context #>> '{metadata,looppause,traceparent}' as traceparent
from looppause_flows.pauses
where pause_id = %(pause_id)s
