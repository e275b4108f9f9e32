select pause_id, context, state
from looppause_flows.pauses
where flow_id = %(flow_id)s and ended_at is null
order by id desc
limit 1
