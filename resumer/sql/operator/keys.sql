-- Which keys have verified the answers that came in the period: does anybody still sign with the
-- old one?
select scheme, key_id, count(*) as deliveries from pauses
where received_at >= %(since)s and scheme is not null and key_id is not null
group by scheme, key_id
order by deliveries desc, scheme, key_id
