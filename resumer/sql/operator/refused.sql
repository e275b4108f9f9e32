select scheme, sum(count)::bigint as n from refusals
where minute >= %(since)s
group by scheme
order by scheme
