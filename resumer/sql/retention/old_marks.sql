delete from pruned
where ctid = any(array(
    select ctid from pruned where pruned_on < current_date - %(days)s::integer limit %(limit)s
))
