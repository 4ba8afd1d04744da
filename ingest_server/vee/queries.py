# ruff: noqa: S608 - the queries are put together from constants of this file; what people say goes in as parameters
"""What validation asks of the database, chunk of metering points by chunk."""

from ingest_server.billing.queries import SELECTION

# A channel as it is installed at a point in the window, with what its customer is by the newest contract of the month,
# and all contracts of the month. Bills of who was there before the last one moved in say nothing of his use.
SELECT_CHANNELS = f"""
    with chosen as (
        select metering_point_id from metering_point
        where metering_point_id > %(after)s and metering_point_id <= %(upto)s and {SELECTION}
    )
    select p.metering_point_id, c.channel_id, c.obis, i.multiplier, m.digits,
           i.installed_at, i.removed_at, coalesce(k.category, ''),
           coalesce(k.three_rates, false), k.solar_regime is not null,
           coalesce(k.contracted_kw, 0), i.role = 'generation', coalesce(b.energy_wh, 0), coalesce(b.days, 0),
           coalesce(y.energy_wh, 0), coalesce(y.days, 0), m.interval_min,
           coalesce(t.terms, '[]')
    from chosen p
    join installation i on i.metering_point_id = p.metering_point_id
     and i.metering_point_id > %(after)s and i.metering_point_id <= %(upto)s
     and i.installed_at < %(end_at)s and (i.removed_at is null or i.removed_at > %(start_at)s)
    join meter m using (meter_id)
    join channel c on c.meter_id = m.meter_id and c.obis = any (%(obis)s::text[])
    left join lateral (
        select category, three_rates, solar_regime, contracted_kw from contract k
        where k.metering_point_id = p.metering_point_id and k.valid_from <= %(last_on)s
          and (k.valid_to is null or k.valid_to >= %(first_on)s)
        order by k.valid_from desc limit 1
    ) k on true
    left join lateral (
        select json_agg(json_build_array(valid_from, valid_to, category, three_rates, solar_regime is not null,
                                         coalesce(contracted_kw, 0)) order by valid_from)::text as terms
        from contract k
        where k.metering_point_id = p.metering_point_id and k.valid_from <= %(last_on)s
          and (k.valid_to is null or k.valid_to >= %(first_on)s)
    ) t on true
    left join lateral (
        select max(valid_from) as on_day
        from (
            select valid_from, whose, lag(whose) over (order by valid_from) as before
            from contract k join metering_point w using (metering_point_id)
            cross join lateral (select coalesce(k.customer_id, w.first_customer_id, w.customer_id)) c (whose)
            where k.metering_point_id = p.metering_point_id and k.valid_from <= %(last_on)s
        ) one_by_one where whose <> before
    ) moved_in on true
    left join lateral (
        select energy_wh, period_to - period_from + 1 as days from bill
        where bill.metering_point_id = p.metering_point_id and bill.period_from < %(first_on)s
          and (moved_in.on_day is null or bill.period_from >= moved_in.on_day)
        order by period_from desc, version desc limit 1
    ) b on true
    left join lateral (
        select energy_wh, period_to - period_from + 1 as days from bill
        where bill.metering_point_id = p.metering_point_id and bill.period_from = %(first_on)s - interval '1 year'
          and (moved_in.on_day is null or bill.period_from >= moved_in.on_day)
        order by version desc limit 1
    ) y on true
    order by p.metering_point_id, c.obis, i.installed_at
"""

# In PostgreSQL's microseconds since 2000, as all instants that come in columns.
SELECT_PROFILE = """
    select channel_id, measured_at, value, quality from reading
    where channel_id between %(lowest)s and %(highest)s and measured_at between %(from_at)s and %(to_at)s
"""
SELECT_PROFILE_OF = """
    select channel_id, measured_at, value, quality from reading
    where channel_id = any (%(channels)s::integer[]) and measured_at between %(from_at)s and %(to_at)s
"""
SELECT_OVERLAY = """
    select channel_id, measured_at, value, quality, reason from reading_overlay
    where channel_id = any (%(channels)s::integer[]) and measured_at between %(from_at)s and %(to_at)s
"""

# Newest judgements of channels: version, rule set, hash, gaps left.
SELECT_JUDGED = """
    select distinct on (channel_id, metering_point_id)
           channel_id, metering_point_id, version, rule_set, inputs_hash, gaps_left
    from vee_judgement
    where channel_id = any (%(channels)s::integer[]) and period_from = %(first_on)s
    order by channel_id, metering_point_id, version desc
"""
# The newest decision on changes of each channel.
SELECT_ACTS = """
    select c.channel_id, max(a.act_id) from reading_change c join reading_change_act a using (change_id)
    where c.channel_id = any (%(channels)s::integer[]) group by 1
"""
INSERT_RUN = """
    insert into vee_run (period_from, period_to, rule_set, actor)
    values (%(first_on)s, %(last_on)s, %(rule_set)s, %(actor)s) returning vee_run_id
"""
INSERT_JUDGEMENTS = """
    insert into vee_judgement (vee_run_id, metering_point_id, channel_id, period_from, version, rule_set, inputs_hash,
                               severity, monthly_wh, gaps_left, score_wh, acts_before)
    select %(run)s, point, channel, %(first_on)s, version, %(rule_set)s, decode(hash, 'hex'), severity, monthly,
           left_over, score, acts
    from unnest(%(points)s::text[], %(channels)s::integer[], %(versions)s::integer[], %(hashes)s::text[],
                %(severities)s::smallint[], %(monthly)s::bigint[], %(left)s::integer[], %(scores)s::bigint[],
                %(acts)s::bigint[])
         as u (point, channel, version, hash, severity, monthly, left_over, score, acts)
    returning channel_id, metering_point_id, version, judgement_id
"""
COPY_FINDINGS = "copy vee_finding (judgement_id, rule, found_on, rule_version, severity, evidence) from stdin"

# The registers of channels at midnights around one each: the nearest before and after, and a year and some months ago.
SELECT_AROUND = """
    select before.taken_on, before.value, after.taken_on, after.value, earlier.taken_on, earlier.value,
           ly0.taken_on, ly0.value, ly1.taken_on, ly1.value
    from unnest(%(channels)s::integer[], %(days)s::date[], %(not_before)s::date[], %(not_after)s::date[])
        with ordinality as one (channel_id, day, not_before, not_after, place)
    left join lateral (
        select taken_on, value from vee_midnight m
        where m.channel_id = one.channel_id and taken_on < one.day and taken_on >= one.not_before
        order by taken_on desc limit 1
    ) before on true
    left join lateral (
        select taken_on, value from vee_midnight m
        where m.channel_id = one.channel_id and taken_on > one.day and taken_on <= one.not_after
        order by taken_on limit 1
    ) after on true
    left join lateral (
        select taken_on, value from vee_midnight m
        where m.channel_id = one.channel_id and taken_on < before.taken_on and taken_on >= one.not_before
        and taken_on >= before.taken_on - 93
        order by taken_on limit 1
    ) earlier on true
    left join lateral (
        select (before.taken_on - interval '1 year')::date as a, (one.day - interval '1 year')::date as b
    ) year on true
    left join lateral (
        select taken_on, value from vee_midnight m
        where m.channel_id = one.channel_id and taken_on between year.a - 15 and year.a + 15
        order by abs(taken_on - year.a) limit 1
    ) ly0 on true
    left join lateral (
        select taken_on, value from vee_midnight m
        where m.channel_id = one.channel_id and taken_on > ly0.taken_on and taken_on between year.b - 15 and year.b + 15
        order by abs(taken_on - year.b) limit 1
    ) ly1 on true
    order by one.place
"""
