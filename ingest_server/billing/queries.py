# ruff: noqa: S608 - the queries are put together from constants of this file; what people say goes in as parameters
"""What a billing run asks of the database, chunk by chunk.

A chunk is the points after one id up to another. Every query begins with the same numbered points, so rows come with
the number of their point and are joined by NumPy, not by PostgreSQL on texts. All columns are integers without nulls,
for :mod:`ingest_server.database.binary_rows`; instants are PostgreSQL's own, microseconds since 2000-01-01 UTC.
"""

# A chunk is a range of every index, so the planner shall not shy from indexes; and no query is long enough to compile.
PREPARE = "set local random_page_cost = 1.1; set local jit = off; set local work_mem = '64MB'"

SELECTION = """
    (%(wanted)s::text[] is null or metering_point_id = any (%(wanted)s))
    and (%(unit)s::text is null or left(metering_point_id, 6) = %(unit)s)
    and (%(book)s::text is null or book_id = %(book)s)
"""

UNKNOWN_POINTS = """
    select wanted from unnest(%(wanted)s::text[]) as wanted
    where not exists (select from metering_point p where p.metering_point_id = wanted)
    order by wanted limit 5
"""

# Where chunks end, and with how many points up to there.
SELECT_BOUNDS = f"""
    select metering_point_id, n from (
        select metering_point_id, row_number() over (order by metering_point_id) as n, count(*) over () as points
        from metering_point where {SELECTION}
    ) numbered
    where n %% %(points_max)s = 0 or n = points order by n
"""

SELECT_TERMS_IDS = """
    select terms_id from bill_terms t
    where t.category = %(category)s and t.voltage is not distinct from %(voltage)s and t.households = %(households)s
      and t.three_rates = %(three_rates)s and t.solar_regime is not distinct from %(solar_regime)s
"""
INSERT_TERMS = """
    insert into bill_terms (category, voltage, households, three_rates, solar_regime)
    values (%(category)s, %(voltage)s, %(households)s, %(three_rates)s, %(solar_regime)s)
    on conflict do nothing
"""

SELECT_TERMS = """
    select category, voltage, households, three_rates, solar_regime from contract
    where valid_from <= %(last_on)s and (valid_to is null or valid_to >= %(first_on)s)
    group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
"""

CHOSEN = f"""
    with chosen as (
        select metering_point_id, book_id, (row_number() over (order by metering_point_id) - 1)::integer as row
        from metering_point
        where metering_point_id > %(after)s and metering_point_id <= %(upto)s and {SELECTION}
    )
"""

SELECT_IDS = f"{CHOSEN} select string_agg(metering_point_id, E'\\n' order by row) from chosen"

SELECT_BOOKS = f"""
    {CHOSEN} select coalesce(hashtext(book_id), 0) from chosen order by row
"""

SELECT_CONTRACTS = f"""
    {CHOSEN}
    select row, valid_from - date '1970-01-01', coalesce(valid_to - date '1970-01-01', 2147483647), terms.place
    from chosen
    join contract c using (metering_point_id)
    join unnest(%(categories)s::text[], %(voltages)s::text[], %(households)s::integer[], %(three_rates)s::boolean[],
                %(regimes)s::text[], %(places)s::integer[])
         as terms (category, voltage, households, three_rates, solar_regime, place)
      on terms.category = c.category and terms.voltage is not distinct from c.voltage
     and terms.households = c.households and terms.three_rates = c.three_rates
     and terms.solar_regime is not distinct from c.solar_regime
    where c.metering_point_id > %(after)s and c.metering_point_id <= %(upto)s
      and c.valid_from <= %(last_on)s and (c.valid_to is null or c.valid_to >= %(first_on)s)
    order by row, valid_from
"""

# The span of an installation, cut to the period; to the contract's days it is cut afterwards.
_INSTALLED = f"""
    {CHOSEN}, installed as (
        select row, i.meter_id, i.multiplier,
               greatest(i.installed_at, %(start_at)s) as start_at, least(i.removed_at, %(end_at)s) as end_at,
               (row_number() over (order by row, i.installed_at, i.meter_id) - 1)::integer as place
        from chosen
        join installation i
          on i.metering_point_id = chosen.metering_point_id
         and i.metering_point_id > %(after)s and i.metering_point_id <= %(upto)s
         and i.installed_at < %(end_at)s and (i.removed_at is null or i.removed_at > %(start_at)s)
    )
"""

SELECT_METERS = f"{_INSTALLED} select string_agg(meter_id, E'\\n' order by place) from installed"

# Rows of a part follow one another, one for each of its registers; a meter without any has one row, without a channel.
SELECT_PARTS = f"""
    {_INSTALLED}
    select place, row, start_at, end_at, installed.multiplier, digits,
           coalesce(array_position(%(obis)s::text[], obis), 1) - 1, coalesce(channel_id, -1)
    from installed join meter using (meter_id)
    left join channel on channel.meter_id = installed.meter_id and obis = any (%(obis)s::text[])
    order by place
"""

# At a civil midnight the registers stand side by side in the daily snapshot; elsewhere they are looked up one by one.
SELECT_MIDNIGHT_RANGE = """
    select channel_id, value, quality from daily_register
    where taken_on = %(day)s and channel_id between %(lowest)s and %(highest)s
"""
SELECT_MIDNIGHT = """
    select channel_id, value, quality from daily_register
    where taken_on = %(day)s and channel_id = any (%(channels)s::integer[])
"""
SELECT_READINGS = """
    select channel_id, value, quality from reading
    where measured_at = %(at)s and channel_id = any (%(channels)s::integer[])
"""

SELECT_CONFLICTS = """
    select c.channel_id, (extract(epoch from c.measured_at) * 1000000)::bigint
    from reading_conflict c
    join reading r on r.channel_id = c.channel_id and r.measured_at = c.measured_at and r.value <> c.value
    where c.channel_id between %(lowest)s and %(highest)s and c.measured_at = any (%(instants)s)
      and r.measured_at between %(first_at)s and %(last_at)s
      and not exists (select from reading_overlay o  -- somebody has said which of the values counts
                      where o.channel_id = c.channel_id and o.measured_at = c.measured_at and o.quality & 96 <> 0)
"""

# The newest version with its approved differences; one that was cancelled is as if it were not there, but its number.
SELECT_ISSUED = f"""
    {CHOSEN}
    select distinct on (row) row,
           case when exists (select from bill_act a where a.bill_id = b.bill_id and a.act = 'cancel') then 0
                else b.bill_id end,
           b.version, b.inputs_schema,
           exists (select from ledger_entry e where e.bill_id = b.bill_id)::integer, (s.bill_id is not null)::integer,
           st.energy_wh, st.subtotal, st.vat, st.total, coalesce(s.energy_wh, 0), coalesce(s.amount, 0), st.inputs_hash
    from chosen
    join bill b using (metering_point_id)
    join bill_standing st using (bill_id)
    left join solar_purchase s on s.bill_id = b.bill_id
    where b.metering_point_id > %(after)s and b.metering_point_id <= %(upto)s
      and b.period_from <= %(last_on)s and b.period_to >= %(first_on)s
    order by row, b.version desc, b.period_to desc
"""

SELECT_PREVIOUS = f"""
    {CHOSEN}
    select row, b.bill_id, b.period_to - date '1970-01-01', b.period_to - b.period_from + 1, b.energy_wh,
           coalesce((select carried_out_wh from solar_purchase s where s.bill_id = b.bill_id), 0),
           coalesce(array_position(%(terms_ids)s::integer[], b.terms_id), 0) - 1,
           coalesce(b.before_daily_wh, array_fill(-1, array[12]))
    from chosen
    cross join lateral (
        select * from bill
        where bill.metering_point_id = chosen.metering_point_id and bill.period_from < %(first_on)s
          and not exists (select from bill_act a where a.bill_id = bill.bill_id and a.act = 'cancel')
        order by bill.period_from desc, bill.period_to desc, bill.version desc limit 1
    ) b
    where b.period_to < %(first_on)s
"""
