update looppause_flows.pauses set noted_at = now()
where pause_id = any(%(pause_ids)s)
returning pause_id
