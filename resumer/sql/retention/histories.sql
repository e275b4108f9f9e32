-- A page of threads in the order of their ids, each with how much there is of it.
select
    thread_id,
    max(checkpoint_id) as newest,
    count(*) as checkpoints,
    count(distinct checkpoint_ns) as namespaces
from checkpoints
where thread_id > %(after)s
group by thread_id
order by thread_id
limit %(limit)s
