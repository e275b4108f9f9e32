-- When a client that waited for the answer first took it: such a pause needs no thread.
alter table pauses add column collected_at timestamptz;
