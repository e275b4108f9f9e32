-- What tells this visit of a gate from every other: how many answers the flow has taken there.
with flow as (
    insert into looppause_flows.flows (flow_id) values (%(flow_id)s)
    on conflict (flow_id) do update set flow_id = excluded.flow_id
    returning visit_key
)
select
    flow.visit_key::text as visit_key,
    (
        select count(*) from looppause_flows.pauses
        where flow_id = %(flow_id)s
        and method_name = %(method_name)s
        and started_at is not null
    ) as visit
from flow
