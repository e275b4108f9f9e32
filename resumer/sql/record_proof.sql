-- Record a verified proof and enqueue its work, or count it as a duplicate, or keep it aside as
-- a conflict: one statement, so that all of it is committed or none, what is told of it too. Of a
-- pause that was pruned nothing is recorded: it has ended, and its answer is a copy.
with gone as (
    select fingerprint = substr(%(fingerprint)s::bytea, 1, 8) as same
    from pruned where digest = pause_digest(%(pause_id)s::text)
),
recorded as (
    insert into pauses (
        pause_id, state, body, fingerprint, decision, authorization_type, responder, channel,
        responded_at, scheme, key_id, delivery_id, deliveries, received_at, last_delivery_at,
        traceparent
    )
    select
        %(pause_id)s, 'answered', %(body)s, %(fingerprint)s, %(decision)s,
        %(authorization_type)s, %(responder)s, %(channel)s, %(responded_at)s, %(scheme)s,
        %(key_id)s, %(delivery_id)s, 1, now(), now(),
        %(traceparent)s
    where not exists (select from gone)
    on conflict (pause_id) do update set
        deliveries = pauses.deliveries + 1,
        last_delivery_at = now(),
        state = case when pauses.body is null then 'answered' else pauses.state end,
        fingerprint = coalesce(pauses.fingerprint, excluded.fingerprint),
        decision = coalesce(pauses.decision, excluded.decision),
        authorization_type = coalesce(pauses.authorization_type, excluded.authorization_type),
        responder = coalesce(pauses.responder, excluded.responder),
        channel = coalesce(pauses.channel, excluded.channel),
        responded_at = coalesce(pauses.responded_at, excluded.responded_at),
        scheme = coalesce(pauses.scheme, excluded.scheme),
        key_id = coalesce(pauses.key_id, excluded.key_id),
        traceparent = case
            when pauses.body is null then excluded.traceparent else pauses.traceparent
        end,
        delivery_id = coalesce(pauses.delivery_id, excluded.delivery_id),
        received_at = coalesce(pauses.received_at, excluded.received_at),
        body = coalesce(pauses.body, excluded.body)
    returning
        pause_id,
        delivery_id = %(delivery_id)s as accepted,
        fingerprint = %(fingerprint)s as same
),
kept as (
    insert into conflicts (pause_id, fingerprint, body, decision, responder)
    select pause_id, %(fingerprint)s, %(body)s, %(decision)s, %(responder)s
    from recorded where not accepted and not same
    on conflict (pause_id, fingerprint) do update set
        deliveries = conflicts.deliveries + 1,
        last_delivery_at = now()
),
noted as (
    insert into events (pause_id, event, detail)
    select pause_id, 'delivered', jsonb_strip_nulls(jsonb_build_object(
        'result', case when accepted then 'accepted' when same then 'duplicate' else 'conflict' end,
        'decision', %(decision)s::text,
        'key_id', %(key_id)s::text
    ))
    from recorded
),
queued as (
    select procrastinate_defer_jobs_v1(array[row(
        'resume', 'resume', 0, pause_id, null, jsonb_build_object('pause_id', pause_id), null
    )::procrastinate_job_to_defer_v1])
    from recorded where accepted
)
select accepted, same from recorded left join queued on true
union all
select false, same from gone
