insert into looppause_flows.flows (flow_id, method_name, state, saved_at)
values (%(flow_id)s, %(method_name)s, %(state)s, now())
on conflict (flow_id) do update set
    method_name = excluded.method_name,
    state = excluded.state,
    saved_at = excluded.saved_at
