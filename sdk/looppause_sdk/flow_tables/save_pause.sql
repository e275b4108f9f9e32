-- The flow hibernates here now; wherever else it did, it has gone on from there. One statement, so
-- that a run that hibernates again ends the pause it answered in the same moment. The same pause
-- saved again (a run repeated after a crash) stays one pause, and what was resumed stays so.
with saved as (
    insert into looppause_flows.flows (flow_id, method_name, state, saved_at)
    values (%(flow_id)s, %(method_name)s, %(state)s, now())
    on conflict (flow_id) do update set
        method_name = excluded.method_name,
        state = excluded.state,
        saved_at = excluded.saved_at
),
gone_on as (
    update looppause_flows.pauses set ended_at = now(), context = null, state = null
    where flow_id = %(flow_id)s
    and ended_at is null
    and coalesce(pause_id <> %(pause_id)s, true)
)
insert into looppause_flows.pauses (
    pause_id, flow_id, flow_class, method_name, agent_id, context, state, expires_at
) values (
    %(pause_id)s, %(flow_id)s, %(flow_class)s, %(method_name)s, %(agent_id)s, %(context)s,
    %(state)s, %(expires_at)s
)
on conflict (pause_id) do update set
    context = excluded.context,
    state = excluded.state,
    ended_at = null
where looppause_flows.pauses.started_at is null
