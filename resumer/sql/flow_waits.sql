select pause_id from looppause_flows.pauses
where flow_id = %(flow_id)s and ended_at is null and pause_id is not null
