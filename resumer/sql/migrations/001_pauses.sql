-- One row per pause that was answered or seen waiting. `body` holds the first genuine answer as
-- it was received, so that it can be verified again by anybody.
create table pauses (
    pause_id           text primary key,
    state              text not null check (
        state in ('waiting', 'answered', 'resuming', 'resumed', 'failed', 'parked')
    ),
    body               bytea,
    fingerprint        bytea,
    decision           text,
    authorization_type text,
    responder          text,
    channel            text,
    responded_at       text,
    scheme             text,
    key_id             text,
    delivery_id        uuid,
    deliveries         integer not null default 0,
    received_at        timestamptz,
    last_delivery_at   timestamptz,
    thread_id          text,
    interrupt_id       text,
    agent_id           text,
    asked_at           timestamptz,
    expires_at         timestamptz,
    next_check_at      timestamptz,
    attempts           integer not null default 0,
    started_at         timestamptz,
    finished_at        timestamptz,
    next_attempt_at    timestamptz,
    outcome            text,
    reason_code        text,
    reason             text,
    error              text,
    next_pauses        text[] not null default '{}',
    created_at         timestamptz not null default now(),
    check (state = 'waiting' or body is not null)
);

create index pauses_waiting_idx on pauses (next_check_at) where state = 'waiting';
create index pauses_unfinished_idx on pauses (received_at)
    where state in ('answered', 'resuming', 'failed');
create index pauses_parked_idx on pauses (received_at) where state = 'parked';
create index pauses_thread_idx on pauses (thread_id);

-- Another genuine answer for a pause that says something else: kept for people, never applied.
create table conflicts (
    pause_id         text not null references pauses on delete cascade,
    fingerprint      bytea not null,
    body             bytea not null,
    decision         text not null,
    responder        text,
    deliveries       integer not null default 1,
    received_at      timestamptz not null default now(),
    last_delivery_at timestamptz not null default now(),
    primary key (pause_id, fingerprint)
);

-- How far the sweep has read the interrupts of a checkpointer; one row.
create table sweeps (
    only_row   boolean primary key default true check (only_row),
    seen_until text not null default '',
    full_at    timestamptz,
    swept_at   timestamptz
);
insert into sweeps default values;
