select
    pause_id, flow_id, flow_class, method_name, ended_at is not null as is_ended,
    coalesce(context, '{}') as context, coalesce(state, '{}') as state
from looppause_flows.pauses
where pause_id = %(pause_id)s
