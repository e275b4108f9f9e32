-- Delete pauses with all that is told of them, and leave what it takes to know them again.
with gone as (
    delete from pauses where pause_id = any(%(pause_ids)s) returning pause_id, fingerprint
)
insert into pruned (digest, fingerprint)
select pause_digest(pause_id), substr(fingerprint, 1, 8) from gone
on conflict do nothing
