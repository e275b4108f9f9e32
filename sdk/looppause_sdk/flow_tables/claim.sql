update looppause_flows.pauses set started_at = coalesce(started_at, now())
where pause_id = %(pause_id)s and ended_at is null
returning id
