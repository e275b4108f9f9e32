-- What follows the first msgpack key "pause_id" (a8 "pause_id") of an interrupt: the header and
-- bytes of the id. Only built-in functions that cannot raise: an index expression that raised
-- would lose the agent's interrupt.
create index concurrently resumer_locate_idx on checkpoint_writes ((substring(
    blob from nullif(position('\xa870617573655f6964'::bytea in blob), 0) + 9 for 64
))) where channel = '__interrupt__'
