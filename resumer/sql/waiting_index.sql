-- Interrupts of root graphs in the order they were raised: checkpoint ids begin with the time.
create index concurrently resumer_waiting_idx on checkpoint_writes (
    checkpoint_id, thread_id, task_id
) where channel = '__interrupt__' and checkpoint_ns = ''
