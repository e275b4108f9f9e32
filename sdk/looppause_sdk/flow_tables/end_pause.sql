update looppause_flows.pauses set ended_at = now(), context = null, state = null
where pause_id = %(pause_id)s and ended_at is null
