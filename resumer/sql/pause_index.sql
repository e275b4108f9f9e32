-- Which thread asks which pause, for checkpoints whose interrupts SQL cannot read: written by the
-- SDK's PauseIndexMixin, beside the checkpointer's own tables.
create table if not exists resumer_pause_index (
    pause_id      text not null,
    thread_id     text not null,
    checkpoint_ns text not null,
    checkpoint_id text not null,
    task_id       text not null,
    primary key (pause_id, thread_id, checkpoint_ns, checkpoint_id, task_id)
);
create index if not exists resumer_pause_index_thread_idx on resumer_pause_index (thread_id)
