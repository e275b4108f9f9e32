-- What an operator is shown, and what one has done. `discarded`: a person has decided that nothing
-- more is done about a pause; its answer is kept.
alter table pauses drop constraint pauses_state_check;
alter table pauses add constraint pauses_state_check check (state in (
    'waiting', 'answered', 'resuming', 'resumed', 'failed', 'parked', 'discarded'
));

-- `action` is what the person was shown; the checkpoint is the one the thread hibernates at.
alter table pauses
    add column action        jsonb,
    add column checkpoint_id text,
    add column checkpoint_ns text;

-- Pages of pauses, the newest first: one ordered walk for each state that is wanted, narrowed by
-- one of agent, reason and thread. The overview's counts and its agents are read from them too.
create index pauses_page_idx on pauses (state, created_at, pause_id);
create index pauses_agent_idx on pauses (agent_id, state, created_at, pause_id);
create index pauses_reason_idx on pauses (state, reason_code, created_at, pause_id)
    where reason_code is not null;
drop index pauses_thread_idx;
create index pauses_thread_idx on pauses (thread_id, created_at, pause_id);

-- The overview's figures of a period, read from the indexes alone.
create index pauses_received_idx on pauses (received_at) include (scheme, key_id);
create index pauses_resumed_idx on pauses (finished_at) include (received_at, outcome)
    where state = 'resumed';

-- What happened to a pause, in order; the names are listed in the docs.
create table events (
    id       bigint generated always as identity primary key,
    pause_id text not null references pauses on delete cascade,
    at       timestamptz not null default clock_timestamp(),
    event    text not null,
    detail   jsonb not null default '{}'
);
create index events_pause_idx on events (pause_id, id);
create index events_parked_idx on events (at) where event = 'parked';

-- Who did what to which pause or agent; written in the transaction that does it.
create table audit (
    id     bigint generated always as identity primary key,
    at     timestamptz not null default clock_timestamp(),
    who    text not null,
    action text not null,
    target text not null,
    detail jsonb not null default '{}'
);
-- What was done to a pause, by itself or among others, for whoever exports it.
create index audit_target_idx on audit (target, id);
create index audit_pauses_idx on audit using gin ((detail -> 'pause_ids'));

-- Agents whose threads are not resumed until somebody releases them; '*' stands for all.
create table holds (
    agent_id text primary key,
    held_at  timestamptz not null default now(),
    held_by  text not null,
    reason   text
);

-- Deliveries that were not genuine, by the minute and the scheme they claimed.
create table refusals (
    minute timestamptz not null,
    scheme text not null,
    count  integer not null,
    primary key (minute, scheme)
);
