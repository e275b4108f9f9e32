update looppause_flows.pauses set ended_at = now(), context = null, state = null
where flow_id = %(flow_id)s and ended_at is null and pause_id is null
