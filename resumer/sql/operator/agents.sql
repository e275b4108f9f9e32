-- Every agent that has ever asked, by hopping from one to the next in the index.
with recursive agent as (
    (select agent_id from pauses where agent_id is not null order by agent_id limit 1)
    union all
    select (
        select pauses.agent_id from pauses
        where pauses.agent_id > agent.agent_id order by pauses.agent_id limit 1
    )
    from agent where agent.agent_id is not null
)
select agent_id from agent where agent_id is not null order by agent_id limit 500
