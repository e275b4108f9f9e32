select reason_code, count(*) as n from pauses
where state = 'parked' and reason_code is not null
group by reason_code
order by n desc, reason_code
