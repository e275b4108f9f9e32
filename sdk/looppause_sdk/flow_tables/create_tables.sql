-- Where CrewAI flows hibernate. One process at a time ("LP", "FLOW"): `if not exists` alone is no
-- protection.
select pg_advisory_xact_lock(19536, 1179406167);

create schema if not exists looppause_flows;

-- One row per flow: its latest state, and a key that tells this flow from every other that ever
-- had the same id, here or in another database.
create table if not exists looppause_flows.flows (
    flow_id     text primary key,
    visit_key   uuid not null default gen_random_uuid(),
    method_name text,
    state       json,
    saved_at    timestamptz
);

-- One row per time a flow hibernated. It stays when the flow has gone on, without what it held:
-- it tells a late answer from an early one, and one visit of a gate from the next. `pause_id` is
-- null where another provider than LoopPause's had asked.
create table if not exists looppause_flows.pauses (
    id          bigint generated always as identity primary key,
    pause_id    text unique,
    flow_id     text not null,
    flow_class  text not null,
    method_name text not null,
    agent_id    text,
    context     json,
    state       json,
    asked_at    timestamptz not null default now(),
    expires_at  timestamptz,
    noted_at    timestamptz,
    started_at  timestamptz,
    ended_at    timestamptz,
    check (ended_at is not null or (context is not null and state is not null))
);

create index if not exists pauses_flow_idx on looppause_flows.pauses (flow_id, id);
create index if not exists pauses_waiting_idx on looppause_flows.pauses (noted_at)
    where ended_at is null and started_at is null;
