# ruff: noqa: S608 - the queries are put together from constants of this file; what people say goes in as parameters
"""What a billing run asks of the database, chunk by chunk.

A chunk is the points after one id up to another. Every query begins with the same numbered points, so rows come with
the number of their point and are joined by NumPy, not by PostgreSQL on texts. All columns are integers without nulls,
for :mod:`ingest_server.database.binary_rows`; instants are PostgreSQL's own, microseconds since 2000-01-01 UTC.
"""

# A chunk is a range of every index, so the planner shall not shy from indexes; and no query is long enough to compile.
PREPARE = "set local random_page_cost = 1.1; set local jit = off; set local work_mem = '64MB'"

# How many rows a chunk's range has is a guess between two bounds of a histogram, on texts that begin alike: of millions
# of points it says one. Two ranges of 20,000 rows joined row by row took 40 s then; merged or hashed they take 0.03 s.
RANGES_JOINED_WHOLE = "set local enable_nestloop = off"
# What belongs to one bill is looked up by its number all the same: "lateral … limit 1" can't be done otherwise.
AS_PLANNED = "set local enable_nestloop = on"

SELECTION = """
    (%(wanted)s::text[] is null or metering_point_id = any (%(wanted)s))
    and (%(unit)s::text is null or left(metering_point_id, 6) = %(unit)s)
    and (%(book)s::text is null or book_id = %(book)s)
    and (%(books)s::text[] is null or book_id = any (%(books)s))
"""

UNKNOWN_POINTS = """
    select wanted from unnest(%(wanted)s::text[]) as wanted
    where not exists (select from metering_point p where p.metering_point_id = wanted)
    order by wanted limit 5
"""

# Where chunks end, and with how many points up to there; the last one ends with the last point.
SELECT_BOUNDS = f"""
    with numbered as (
        select metering_point_id, row_number() over (order by metering_point_id) as n
        from metering_point where {SELECTION}
    )
    select metering_point_id, n from numbered where n %% %(points_max)s = 0 order by n
"""
SELECT_LAST = f"""
    select metering_point_id, (select count(*) from metering_point where {SELECTION})
    from metering_point where {SELECTION} order by metering_point_id desc limit 1
"""

# The terms of a contract by the names they have in bill_terms; four tenants are one household.
TERMS = (
    "category, voltage, households, households_parts, three_rates, solar_regime, reactive, undeclared_rental, "
    "refused_three_rates, two_component, uses, rate_plan"
)
_TERMS_OF_CONTRACT = """
    category, voltage, coalesce(tenants, households) as households,
    case when tenants is null then 1 else 4 end as households_parts, three_rates, solar_regime,
    (category <> all (%(reactive_exempt)s::text[])
     or exists (select from jsonb_array_elements(uses) as own
                where own ->> 'category' <> all (%(reactive_exempt)s::text[])))
        and coalesce(contracted_kw >= %(reactive_from_kw)s, false) as reactive,
    undeclared_rental, refused_three_rates, two_component, uses::text as uses, rate_plan as plan_name
"""

_SELECT_LIKE_TERMS = """
    select terms_id from bill_terms t
    where t.category = %(category)s and t.voltage is not distinct from %(voltage)s
      and (t.households, t.households_parts) = (%(households)s, %(households_parts)s)
      and t.three_rates = %(three_rates)s and t.solar_regime is not distinct from %(solar_regime)s
      and (t.reactive, t.undeclared_rental) = (%(reactive)s, %(undeclared_rental)s)
      and (t.refused_three_rates, t.two_component) = (%(refused_three_rates)s, %(two_component)s)
      and t.uses is not distinct from %(uses)s
"""
SELECT_TERMS_IDS = f"{_SELECT_LIKE_TERMS} and t.rate_plan is not distinct from %(rate_plan)s"
# The same terms with any figures of the same rate plan: next year's prices are no other contract.
SELECT_EVER_TERMS_IDS = f"{_SELECT_LIKE_TERMS} and t.rate_plan::jsonb ->> 'name' = %(rate_plan)s::jsonb ->> 'name'"
INSERT_TERMS = f"""
    insert into bill_terms ({TERMS})
    values (%(category)s, %(voltage)s, %(households)s, %(households_parts)s, %(three_rates)s, %(solar_regime)s,
            %(reactive)s, %(undeclared_rental)s, %(refused_three_rates)s, %(two_component)s, %(uses)s, %(rate_plan)s)
    on conflict do nothing
"""

# The figures of a plan are looked up once for all contracts that share its terms, and again for none.
SELECT_TERMS = f"""
    with own as (
        select distinct {_TERMS_OF_CONTRACT} from contract
        where valid_from <= %(last_on)s and (valid_to is null or valid_to >= %(first_on)s)
    ), figured as (
        select own.*, case when plan_name is not null then coalesce(
            (select r.figures::text from rate_plan r where r.name = plan_name and r.effective_on <= %(first_on)s
             order by r.effective_on desc limit 1), to_json(plan_name)::text) end as rate_plan
        from own
    )
    select {TERMS} from figured order by {TERMS}
"""

CHOSEN = f"""
    with chosen as (
        select metering_point_id, book_id, (row_number() over (order by metering_point_id) - 1)::integer as row
        from metering_point
        where metering_point_id > %(after)s and metering_point_id <= %(upto)s and {SELECTION}
    )
"""

SELECT_POINTS = f"{CHOSEN} select metering_point_id, coalesce(hashtext(book_id), 0) from chosen order by row"

SELECT_CONTRACTS = f"""
    {CHOSEN}, own as (
        select row, valid_from - date '1970-01-01' as first_day,
               coalesce(valid_to - date '1970-01-01', 2147483647) as last_day, {_TERMS_OF_CONTRACT}
        from chosen join contract c using (metering_point_id)
        where c.metering_point_id > %(after)s and c.metering_point_id <= %(upto)s
          and c.valid_from <= %(last_on)s and (c.valid_to is null or c.valid_to >= %(first_on)s)
    )
    select row, first_day, last_day, terms.place
    from own
    join unnest(%(categories)s::text[], %(voltages)s::text[], %(households)s::integer[],
                %(households_parts)s::integer[], %(three_rates)s::boolean[], %(regimes)s::text[],
                %(reactive)s::boolean[], %(undeclared)s::boolean[], %(refused)s::boolean[],
                %(two_component)s::boolean[], %(uses)s::text[], %(plan_names)s::text[], %(places)s::integer[])
         as terms (category, voltage, households, households_parts, three_rates, solar_regime, reactive,
                   undeclared_rental, refused_three_rates, two_component, uses, plan_name, place)
      on terms.category = own.category and terms.voltage is not distinct from own.voltage
     and terms.households = own.households and terms.households_parts = own.households_parts
     and terms.three_rates = own.three_rates and terms.solar_regime is not distinct from own.solar_regime
     and terms.reactive = own.reactive and terms.undeclared_rental = own.undeclared_rental
     and terms.refused_three_rates = own.refused_three_rates and terms.two_component = own.two_component
     and terms.uses is not distinct from own.uses and terms.plan_name is not distinct from own.plan_name
    order by row, first_day
"""

# Contracts that end with the period while another goes on with the net metering of the same customer on the next day.
SELECT_NETTED_ON = f"""
    {CHOSEN}
    select row, c.valid_from - date '1970-01-01'
    from chosen
    join contract c using (metering_point_id)
    join contract n on n.metering_point_id = c.metering_point_id and n.valid_from = c.valid_to + 1
    join metering_point p on p.metering_point_id = c.metering_point_id
    where c.metering_point_id > %(after)s and c.metering_point_id <= %(upto)s and c.valid_to = %(last_on)s
      and c.solar_regime = 'net_2017' and n.solar_regime = 'net_2017'
      and coalesce(n.customer_id, p.first_customer_id, p.customer_id)
          = coalesce(c.customer_id, p.first_customer_id, p.customer_id)
    order by row, c.valid_from
"""

# Contracts of others than the customer a point was first entered for; few, so a small index finds them.
SELECT_OTHER_CUSTOMERS = f"""
    {CHOSEN}
    select row, c.valid_from - date '1970-01-01', c.customer_id
    from chosen
    join contract c using (metering_point_id)
    join metering_point p using (metering_point_id)
    where c.metering_point_id > %(after)s and c.metering_point_id <= %(upto)s and c.customer_id is not null
      and c.valid_from <= %(last_on)s and (c.valid_to is null or c.valid_to >= %(first_on)s)
      and c.customer_id <> coalesce(p.first_customer_id, p.customer_id)
    order by row, c.valid_from
"""

# The span of an installation, cut to the period; to the contract's days it is cut afterwards.
SELECT_INSTALLED = f"""
    {CHOSEN}
    select row, i.meter_id, greatest(i.installed_at, %(start_at)s), least(i.removed_at, %(end_at)s),
           (i.role = 'generation')::integer, i.multiplier
    from chosen
    join installation i using (metering_point_id)
    where i.metering_point_id > %(after)s and i.metering_point_id <= %(upto)s
      and i.installed_at < %(end_at)s and (i.removed_at is null or i.removed_at > %(start_at)s)
    order by row, i.role desc, i.installed_at, i.meter_id
"""

# A row for each register of a meter, or one without a channel. Two ranges of the same index are read side by side, five
# times as fast as meter by meter; whether a range holds few others is asked first.
SELECT_METERS_BETWEEN = """
    select count(*) from (select from meter where meter_id between %(lowest)s and %(highest)s limit %(meters_max)s) m
"""
_REGISTERS = """
    select m.meter_id, digits, coalesce(array_position(%(obis)s::text[], obis), 1) - 1, coalesce(channel_id, -1)
    from meter m left join channel c on c.meter_id = m.meter_id and obis = any (%(obis)s::text[])
"""
SELECT_REGISTERS_RANGE = f"""
    {_REGISTERS} and c.meter_id between %(lowest)s and %(highest)s
    where m.meter_id between %(lowest)s and %(highest)s
"""
SELECT_REGISTERS = f"""
    {_REGISTERS} and c.meter_id = any (%(meters)s::text[])
    where m.meter_id = any (%(meters)s::text[])
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

# The place of a bill's customer in the chunk's list: -1 for whose the point was first, -2 for none of these.
CUSTOMER_OF_BILL = """
    case when b.more ->> 'customer_id' is null then -1
         else coalesce(array_position(%(customers)s::text[], b.more ->> 'customer_id') - 1, -2) end
"""

# Of each span of days the newest version with its approved differences; one that was cancelled is as if it were not
# there, but its number.
SELECT_ISSUED = f"""
    {CHOSEN}
    select distinct on (row, b.period_from, b.period_to) row, b.period_from - date '1970-01-01',
           b.period_to - date '1970-01-01',
           case when exists (select from bill_act a where a.bill_id = b.bill_id and a.act = 'cancel') then 0
                else b.bill_id end,
           b.version, b.inputs_schema,
           exists (select from ledger_entry e where e.bill_id = b.bill_id)::integer, (s.bill_id is not null)::integer,
           st.energy_wh, st.subtotal, st.vat, st.total, coalesce(s.energy_wh + st.purchased_wh_more, 0),
           coalesce(s.amount + st.purchased_more, 0), coalesce(s.carried_out_wh + st.carried_out_wh_more, 0),
           coalesce(s.carried_cd_wh + st.carried_cd_wh_more, 0), coalesce(s.carried_td_wh + st.carried_td_wh_more, 0),
           {CUSTOMER_OF_BILL}, st.inputs_hash
    from chosen
    join bill b using (metering_point_id)
    join lateral (select * from bill_standing own where own.bill_id = b.bill_id limit 1) st on true
    left join lateral (select * from solar_purchase own where own.bill_id = b.bill_id limit 1) s on true
    where b.metering_point_id > %(after)s and b.metering_point_id <= %(upto)s
      and b.period_from <= %(last_on)s and b.period_to >= %(first_on)s
    order by row, b.period_from, b.period_to, b.version desc
"""

_PREVIOUS = f"""
    row, b.bill_id, b.period_to - date '1970-01-01', b.period_to - b.period_from + 1, b.energy_wh,
    coalesce((select s.carried_out_wh + (
                  select coalesce(sum(f.carried_out_wh), 0)::bigint
                  from bill_difference f join bill_difference_act a using (difference_id)
                  where f.bill_id = s.bill_id and a.act = 'approve')
              from solar_purchase s where s.bill_id = b.bill_id), 0),
    coalesce(array_position(%(ever_terms_ids)s::integer[], b.terms_id), 0) - 1, {CUSTOMER_OF_BILL},
    coalesce(b.before_daily_wh, array_fill(-1, array[12]))
"""

# What of a surplus is of the peak and of the off-peak rate; asked only for bills before those of three rates.
SELECT_CARRIED_BY_RATE = """
    select s.bill_id, s.carried_cd_wh + coalesce(sum(f.carried_cd_wh), 0)::bigint,
           s.carried_td_wh + coalesce(sum(f.carried_td_wh), 0)::bigint
    from solar_purchase s
    left join (bill_difference f
               join bill_difference_act a on a.difference_id = f.difference_id and a.act = 'approve')
           on f.bill_id = s.bill_id
    where s.bill_id = any (%(bills)s::bigint[])
    group by s.bill_id
"""

# Nearly all have a bill that ends on the day before: one scan of the index finds these.
SELECT_PREVIOUS = f"""
    {CHOSEN}
    select distinct on (row) {_PREVIOUS}
    from chosen
    join bill b using (metering_point_id)
    left join bill_act a on a.bill_id = b.bill_id and a.act = 'cancel'
    where b.metering_point_id > %(after)s and b.metering_point_id <= %(upto)s
      and b.period_from < %(first_on)s and b.period_from >= %(first_on)s - 31 and b.period_to = %(first_on)s - 1
      and a.bill_id is null
    order by row, b.period_from desc, b.version desc
"""

# Whether any point of the chunk has a bill that begins before the period: none in a company's first month.
SELECT_ANY_OLDER = """
    select exists (
        select from bill
        where metering_point_id > %(after)s and metering_point_id <= %(upto)s and period_from < %(first_on)s)
"""

# Those that have none: the newest before, however old. The first such bill must end before the period.
SELECT_PREVIOUS_OLDER = f"""
    {CHOSEN}
    select {_PREVIOUS}
    from chosen
    cross join lateral (
        select * from bill
        where bill.metering_point_id = chosen.metering_point_id and bill.period_from < %(first_on)s
          and not exists (select from bill_act a where a.bill_id = bill.bill_id and a.act = 'cancel')
        order by bill.period_from desc, bill.period_to desc, bill.version desc limit 1
    ) b
    where row = any (%(points)s::integer[]) and b.period_to < %(first_on)s
"""

# The highest demand of past months, of the bills that stand and with the newest difference that was approved.
SELECT_DEMANDS = f"""
    {CHOSEN}
    select row, b.period_to - date '1970-01-01', {CUSTOMER_OF_BILL}, greatest(highest.w, by_interval.w)
    from chosen
    join bill b using (metering_point_id)
    join bill_state using (bill_id)
    cross join lateral (
        select coalesce((select f.metered from bill_difference f join bill_difference_act a using (difference_id)
                         where f.bill_id = b.bill_id and a.act = 'approve'
                         order by f.difference_id desc limit 1), b.metered) as rows
    ) metered
    cross join lateral (
        select max(rows[at * 9 + 9]) as w
        from generate_series(0, cardinality(rows) / 9 - 1) as at
        join channel c on c.channel_id = rows[at * 9 + 1]
        where c.obis = %(demand_obis)s
    ) highest
    cross join lateral (select (b.more ->> 'demand_w')::bigint as w) by_interval
    where row = any (%(points)s::integer[])
      and b.metering_point_id > %(after)s and b.metering_point_id <= %(upto)s
      and b.period_from < %(first_on)s and b.period_from >= %(since_on)s
      and state not in ('cancelled', 'superseded') and coalesce(highest.w, by_interval.w) is not null
"""
