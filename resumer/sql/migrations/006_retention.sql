-- What is left of a pause that was pruned: enough to know its answer again, should it come once
-- more. Of the digest and the fingerprint only as much is kept as it takes to tell them apart.
create table pruned (
    digest      uuid primary key,
    fingerprint bytea not null,
    pruned_on   date not null default current_date
);
-- Rows come in the order of their days, so that a few bytes for each stretch of the table do.
create index pruned_on_idx on pruned using brin (pruned_on) with (pages_per_range = 16);

create function pause_digest(pause_id text) returns uuid
    language sql stable strict parallel safe
return encode(substr(sha256(convert_to(pause_id, 'UTF8')), 1, 16), 'hex')::uuid;

-- A statement that waited for a row that was being pruned has not seen what is left of it, and
-- would record the answer as a new one. Here it is seen; whoever sent it is told to try again.
create function refuse_pruned() returns trigger
    language plpgsql set search_path from current
as $$
begin
    if exists (select from pruned where digest = pause_digest(new.pause_id)) then
        raise exception 'the pause was being pruned: try again'
            using errcode = 'serialization_failure';
    end if;
    return null;
end
$$;
create trigger pauses_not_pruned after insert on pauses
    for each row execute function refuse_pruned();

-- What may be pruned next; `pauses_resumed_idx` has the others.
create index pauses_discarded_idx on pauses (finished_at) where state = 'discarded';

-- Each pause is written three times: vacuum is to find the room again before the table has grown by
-- a fifth, which is some weeks of pauses.
alter table pauses set (autovacuum_vacuum_scale_factor = 0.05);

-- When pruning last ran, what stopped it, and when it was last told of what waits; one row.
create table retention (
    only_row boolean primary key default true check (only_row),
    ran_at   timestamptz,
    problem  text,
    told_at  timestamptz
);
insert into retention default values;
