-- What operators did before a time, the first first: a page, and of each whether it can go. What
-- was done to a pause that is still here stays with it, and the last hold or release of an agent.
with page as (
    select * from audit where id > %(after)s and at < %(before)s order by id limit %(limit)s
)
select page.id, page.at, page.who, page.action, page.target, page.detail,
    not exists (select from pauses where pauses.pause_id = page.target)
    and not exists (
        select from pauses
        where pauses.pause_id in (
            select jsonb_array_elements_text(page.detail -> 'pause_ids')
            where jsonb_typeof(page.detail -> 'pause_ids') = 'array'
        )
    )
    and (
        page.action not in ('held', 'released')
        or exists (
            select from audit as later
            where later.target = page.target
            and later.action in ('held', 'released')
            and later.id > page.id
            and later.at < %(before)s
        )
    ) as is_over
from page
order by page.id
