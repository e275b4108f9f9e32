-- Of each job that it could take a worker asks whether one with the same lock comes before it, for
-- which none of Procrastinate's indexes is made (its issue 1242). No predicate: jobs that have ended
-- are deleted, and one would be in the way of a later script that changes the type of `status`.
create index concurrently resumer_jobs_lock_idx on procrastinate_jobs (lock)
