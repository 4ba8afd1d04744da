-- What should have come and did not: gaps of each channel, shares of expected readings, sequences that never came.

-- How often a meter's channels are to be read. One reading in each interval is expected, at any moment of it; intervals
-- are counted from civil midnight, which is 17:00 UTC.
alter table meter add column interval_min smallint not null default 30
    check (interval_min between 1 and 1440 and 1440 % interval_min = 0);

-- From when until when readings of a channel are expected: while its meter hangs somewhere; if it never was installed,
-- since it was registered.
create view expected_channel as
select channel_id, meter_id, gateway_id, obis, make_interval(mins => interval_min) as every,
    coalesce(i.first_at, registered_at) as from_at,
    case when i.meter_id is null or i.hangs then 'infinity' else i.last_at end as until_at
from channel
join meter using (meter_id)
left join (
    select meter_id, min(installed_at) as first_at, max(removed_at) as last_at, bool_or(removed_at is null) as hangs
    from installation
    group by meter_id
) i using (meter_id);

-- The intervals without a reading between two instants, joined where they touch. An interval that has not ended at
-- as_of is not missed yet. Between two installations of one meter its readings are expected all the same.
create function reading_gaps(after timestamptz, before timestamptz, of_gateway text, as_of timestamptz)
returns table (gateway_id text, meter_id text, obis text, first_at timestamptz, end_at timestamptz, intervals bigint,
    age interval)
language sql stable as $$
    with span as (
        select e.*,
            date_bin(every, greatest(after, from_at) + every - interval '1 microsecond', '2000-01-01 17:00+00') as begin_at,
            date_bin(every, least(before, until_at, as_of), '2000-01-01 17:00+00') as end_at
        from expected_channel e
        where of_gateway is null or e.gateway_id = of_gateway
    ), edge as (
        select channel_id, begin_at - every as at from span where begin_at < end_at
        union
        select channel_id, date_bin(every, r.measured_at, '2000-01-01 17:00+00')
        from span
        join reading r using (channel_id)
        where r.measured_at >= begin_at and r.measured_at < end_at
            and r.measured_at >= after and r.measured_at < before  -- lets the planner leave out chunks
        union
        select channel_id, end_at from span where begin_at < end_at
    ), pair as (
        select channel_id, at, lead(at) over (partition by channel_id order by at) as next_at from edge
    )
    select s.gateway_id, s.meter_id, s.obis, at + every, next_at,
        (extract(epoch from next_at - at) / extract(epoch from every))::bigint - 1, as_of - (at + every)
    from pair
    join span s using (channel_id)
    where next_at > at + every
    order by 1, 2, 3, 4
$$;

-- Expected and found readings of each channel and civil day; days and channels of which nothing is expected are left out.
create function reading_completeness(first_on date, last_on date, of_gateway text, as_of timestamptz)
returns table (gateway_id text, meter_id text, obis text, on_day date, expected bigint, found bigint)
language sql stable as $$
    with day as (
        select d::date as on_day, d at time zone 'UTC' - interval '7 hours' as begin_at,
            d at time zone 'UTC' + interval '17 hours' as end_at
        from generate_series(first_on::timestamp, last_on::timestamp, interval '1 day') d
    ), span as (
        select e.*, on_day,
            date_bin(every, greatest(begin_at, from_at) + every - interval '1 microsecond', '2000-01-01 17:00+00') as begin_at,
            date_bin(every, least(end_at, until_at, as_of), '2000-01-01 17:00+00') as end_at
        from expected_channel e
        cross join day
        where of_gateway is null or e.gateway_id = of_gateway
    ), seen as (
        select channel_id, civil_day(measured_at) as on_day, date_bin(every, measured_at, '2000-01-01 17:00+00') as at
        from reading
        join expected_channel e using (channel_id)
        where measured_at >= (select min(begin_at) from day) and measured_at < (select max(end_at) from day)
            and (of_gateway is null or e.gateway_id = of_gateway)
        group by 1, 2, 3
    )
    select s.gateway_id, s.meter_id, s.obis, s.on_day,
        (extract(epoch from s.end_at - s.begin_at) / extract(epoch from s.every))::bigint,
        count(seen.at) filter (where seen.at >= s.begin_at and seen.at < s.end_at)
    from span s
    left join seen on seen.channel_id = s.channel_id and seen.on_day = s.on_day
    where s.begin_at < s.end_at
    group by s.gateway_id, s.meter_id, s.obis, s.on_day, s.begin_at, s.end_at, s.every
    order by 1, 2, 3, 4
$$;

-- Batches that a gateway must have sent, for later ones of the same spool came, and that never arrived.
create view gateway_sequence_gap as
select gateway_id, generation, lower(hole) as first, upper(hole) - 1 as last, updated_at
from gateway_sequence, unnest(int8multirange(int8range(1, upper(received))) - received) as hole;
