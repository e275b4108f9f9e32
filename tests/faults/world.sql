-- What the attacked agents act on, and the points at which the harness can hold a process.
create schema faults;

-- One row for every execution of a protected action, whoever ran it.
create table faults.ledger (
    id         bigint generated always as identity primary key,
    thread_id  text not null,
    node       text not null,
    pause_id   text not null default '',
    pid        integer not null,
    process    text not null,
    task_id    text not null,
    started_at timestamptz not null default clock_timestamp(),
    ended_at   timestamptz
);
create index on faults.ledger (thread_id, node, pause_id);

-- When the outcome of a node was stored first: from then on it must not run again.
create table faults.commits (
    thread_id text not null,
    task_id   text not null,
    at        timestamptz not null default clock_timestamp(),
    primary key (thread_id, task_id)
);

-- Every entry into a node that is told to raise, so that it can stop raising.
create table faults.attempts (
    thread_id text not null,
    node      text not null,
    at        timestamptz not null default clock_timestamp()
);

-- Wait here for as long as the harness holds this point: it has the same key exclusively.
create function faults.at(point text, name text) returns void language plpgsql as $$
declare
    key integer := hashtext(point || ':' || coalesce(name, '')) & x'7fffffff'::integer;
begin
    if name is null then
        return;
    end if;
    perform pg_advisory_lock_shared(x'46415554'::integer, key);
    perform pg_advisory_unlock_shared(x'46415554'::integer, key);
end $$;

-- A job is named by its pause; the queue's own tasks by their task.
create function faults.on_job() returns trigger language plpgsql as $$
declare
    name text := coalesce(old.args ->> 'pause_id', old.task_name);
begin
    if tg_op = 'DELETE' then
        perform faults.at('job_done', name);
        return old;
    elsif new.status = 'doing' and old.status = 'todo' then
        perform faults.at('claim', name);
    elsif new.status = 'todo' and old.status = 'doing' then
        perform faults.at('job_again', name);
    end if;
    return new;
end $$;
create trigger faults_job before update or delete on resumer.procrastinate_jobs
    for each row execute function faults.on_job();

create function faults.on_pause() returns trigger language plpgsql as $$
begin
    if new.body is not null and (tg_op = 'INSERT' or old.body is null) then
        perform faults.at('recorded', new.pause_id);
    elsif tg_op = 'INSERT' then
        return new;
    elsif new.state = 'resuming' and old.state is distinct from 'resuming' then
        perform faults.at('begin', new.pause_id);
    elsif new.state is distinct from old.state then
        perform faults.at('outcome', new.pause_id);
    end if;
    return new;
end $$;
create trigger faults_pause after insert or update on resumer.pauses
    for each row execute function faults.on_pause();

create function faults.on_checkpoint() returns trigger language plpgsql as $$
begin
    perform faults.at('checkpoint', new.thread_id);
    return new;
end $$;
create function faults.on_write() returns trigger language plpgsql as $$
begin
    perform faults.at(
        case new.channel when '__interrupt__' then 'interrupt' else 'write' end, new.thread_id
    );
    if left(new.channel, 2) <> '__' then
        insert into faults.commits (thread_id, task_id) values (new.thread_id, new.task_id)
        on conflict do nothing;
    end if;
    return new;
end $$;
create trigger faults_checkpoint before insert on checkpoints
    for each row execute function faults.on_checkpoint();
create trigger faults_write before insert on checkpoint_writes
    for each row execute function faults.on_write();
