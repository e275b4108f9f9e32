-- Least privilege: what each process may do in the database, as roles to be a member of.
--
--   psql "$OWNER_URL" --set ON_ERROR_STOP=1 --file deploy/grants.sql
--
-- Run it as the owner of the tables, the user of `resumer migrate`, after each migration, and in
-- both databases where the checkpointer has its own. It may be run again at any time. Making the
-- roles takes CREATEROLE, once. Then each process gets a user of its own:
--
--   create role web_1 login password '...' in role resumer_web;            -- resumer web
--   create role worker_1 login password '...' in role resumer_worker;      -- resumer worker
--   create role both_1 login password '...' in role resumer_web, resumer_worker;  -- resumer serve
--   create role ada login password '...' in role resumer_operator;         -- resumer retry, hold ...
--   create role grafana login password '...' in role resumer_reader;       -- resumer pauses ...
--
-- A web process whose dashboard and API are to act, and not only to show, is in resumer_operator,
-- too. The agents' own processes need the checkpointer's tables alone: resumer_agent.

begin;

do $roles$
declare
    name text;
begin
    foreach name in array array[
        'resumer_reader', 'resumer_web', 'resumer_worker', 'resumer_operator', 'resumer_agent'
    ] loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I nologin', name);
        end if;
    end loop;
end
$roles$;

-- A web user may take an answer in, and note that one was collected. It may not say that a pause
-- is resumed, and not exchange an answer that is here.
do $ours$
begin
    if to_regnamespace('resumer') is null then
        return;
    end if;

    grant usage on schema resumer
        to resumer_reader, resumer_web, resumer_worker, resumer_operator;
    grant select on all tables in schema resumer
        to resumer_reader, resumer_web, resumer_worker, resumer_operator;
    alter default privileges in schema resumer grant select on tables
        to resumer_reader, resumer_web, resumer_worker, resumer_operator;

    -- The queue: whoever records an answer or retries a pause enqueues a job.
    grant insert on resumer.procrastinate_jobs, resumer.procrastinate_events
        to resumer_web, resumer_operator;
    grant usage on sequence
        resumer.procrastinate_jobs_id_seq, resumer.procrastinate_events_id_seq
        to resumer_web, resumer_operator;
    grant update (scheduled_at) on resumer.procrastinate_jobs to resumer_operator;

    grant insert on resumer.pauses, resumer.conflicts, resumer.events to resumer_web;
    grant update (
        deliveries, last_delivery_at, state, fingerprint, decision, authorization_type, responder,
        channel, responded_at, scheme, key_id, traceparent, delivery_id, received_at, body,
        collected_at
    ) on resumer.pauses to resumer_web;
    grant update (deliveries, last_delivery_at) on resumer.conflicts to resumer_web;
    grant insert, update, delete on resumer.refusals to resumer_web, resumer_worker;

    grant update (
        state, attempts, reason_code, reason, error, outcome, next_attempt_at, finished_at
    ) on resumer.pauses to resumer_operator;
    grant insert on resumer.events, resumer.audit to resumer_operator;
    grant insert, delete on resumer.holds to resumer_operator;

    -- Pruning takes old acts out of the audit; nobody changes one.
    grant insert, update, delete on all tables in schema resumer to resumer_worker;
    revoke insert, update, delete on resumer.migrations, resumer.queue_scripts, resumer.holds
        from resumer_worker;
    revoke update on resumer.audit from resumer_worker;
    grant usage on all sequences in schema resumer to resumer_worker;
    alter default privileges in schema resumer grant insert, update, delete on tables
        to resumer_worker;
    alter default privileges in schema resumer grant usage on sequences to resumer_worker;

    create or replace function resumer.guard_web() returns trigger
        language plpgsql set search_path from current
    as $guard$
    begin
        if not pg_has_role(current_user, 'resumer_web', 'usage')
            or pg_has_role(current_user, 'resumer_worker', 'usage')
            or pg_has_role(current_user, 'resumer_operator', 'usage')
        then
            return new;
        end if;
        if new.state = 'answered' and (tg_op = 'INSERT' or old.body is null) then
            return new;
        end if;
        raise exception 'a web user takes answers in, and changes none'
            using errcode = 'insufficient_privilege';
    end
    $guard$;
    create or replace trigger guard_web_insert before insert on resumer.pauses
        for each row when (new.state <> 'answered')
        execute function resumer.guard_web();
    create or replace trigger guard_web_update before update of state, body, decision, fingerprint
        on resumer.pauses
        for each row when (
            old.state is distinct from new.state
            or old.body is distinct from new.body
            or old.decision is distinct from new.decision
            or old.fingerprint is distinct from new.fingerprint
        )
        execute function resumer.guard_web();
end
$ours$;

-- The threads: nobody else's. Whoever can write here can change what a thread does next.
do $theirs$
begin
    if to_regclass('checkpoints') is null then
        return;
    end if;
    grant select, insert, update, delete on checkpoints, checkpoint_blobs, checkpoint_writes
        to resumer_worker, resumer_agent;
    -- Its version, which says nothing of any thread: `resumer doctor` asks for it.
    grant select on checkpoint_migrations
        to resumer_reader, resumer_web, resumer_worker, resumer_operator, resumer_agent;
    grant select, insert, delete on resumer_pause_index to resumer_worker, resumer_agent;
    grant usage on schema looppause_flows to resumer_worker, resumer_agent;
    grant select, insert, update, delete on all tables in schema looppause_flows
        to resumer_worker, resumer_agent;
end
$theirs$;

commit;
