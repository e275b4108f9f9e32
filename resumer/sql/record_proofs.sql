-- Record verified proofs, each of another pause, and enqueue their work, or count one as a
-- duplicate, or keep it aside as a conflict: one statement, so that all of it is committed or none,
-- what is told of it too. In the order of their ids: two statements lock no rows crosswise. Of a
-- pause that was pruned nothing is recorded: it has ended, and its answer is a copy.
with given as (
    select * from unnest(
        %(pause_id)s::text[], %(body)s::bytea[], %(fingerprint)s::bytea[], %(decision)s::text[],
        %(authorization_type)s::text[], %(responder)s::text[], %(channel)s::text[],
        %(responded_at)s::text[], %(scheme)s::text[], %(key_id)s::text[],
        %(delivery_id)s::uuid[], %(traceparent)s::text[]
    ) as proofs (
        pause_id, body, fingerprint, decision, authorization_type, responder, channel,
        responded_at, scheme, key_id, delivery_id, traceparent
    )
),
gone as (
    select given.pause_id, pruned.fingerprint = substr(given.fingerprint, 1, 8) as same
    from given join pruned on pruned.digest = pause_digest(given.pause_id)
),
recorded as (
    insert into pauses (
        pause_id, state, body, fingerprint, decision, authorization_type, responder, channel,
        responded_at, scheme, key_id, delivery_id, deliveries, received_at, last_delivery_at,
        traceparent
    )
    select
        pause_id, 'answered', body, fingerprint, decision, authorization_type, responder, channel,
        responded_at, scheme, key_id, delivery_id, 1, now(), now(),
        traceparent
    from given where pause_id not in (select pause_id from gone)
    order by pause_id
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
    returning pause_id, delivery_id, fingerprint
),
compared as (
    select
        given.*,
        recorded.delivery_id = given.delivery_id as accepted,
        recorded.fingerprint = given.fingerprint as same
    from recorded join given using (pause_id)
),
kept as (
    insert into conflicts (pause_id, fingerprint, body, decision, responder)
    select pause_id, fingerprint, body, decision, responder
    from compared where not accepted and not same
    on conflict (pause_id, fingerprint) do update set
        deliveries = conflicts.deliveries + 1,
        last_delivery_at = now()
),
noted as (
    insert into events (pause_id, event, detail)
    select pause_id, 'delivered', jsonb_strip_nulls(jsonb_build_object(
        'result', case when accepted then 'accepted' when same then 'duplicate' else 'conflict' end,
        'decision', decision,
        'key_id', key_id
    ))
    from compared
),
queued as (
    select procrastinate_defer_jobs_v1(array_agg(row(
        'resume', 'resume', 0, pause_id, null, jsonb_build_object('pause_id', pause_id), null
    )::procrastinate_job_to_defer_v1))
    from compared where accepted
)
select pause_id, accepted, same from compared cross join queued
union all
select pause_id, false, same from gone
