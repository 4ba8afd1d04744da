-- Bills as columns: a bill is one row, its lines and the readings it rests on are arrays, what many bills share stands
-- once. So a country's bills are written and read at the speed of COPY, and a line is still a row of a view.
--
-- No foreign keys lead from bill: each costs as much as the row itself. A run takes what it refers to from one
-- snapshot, and what bills refer to can't be deleted (triggers below).

create table bill_terms (
    terms_id     integer generated always as identity primary key,
    category     text    not null,
    voltage      text,
    households   integer not null,
    three_rates  boolean not null,
    solar_regime text,
    unique nulls not distinct (category, voltage, households, three_rates, solar_regime)
);

-- What a line is, whoever's it is: kind, tier or register, price, act and clause, days; as BillLine.to_json says it,
-- without energy, amount and quota, which each bill has for itself.
create table bill_slot (
    slot_id integer generated always as identity primary key,
    slot    jsonb not null unique
);

create table reading_book (
    book_id     text primary key,
    unit        text not null check (length(unit) = 6),   -- first six characters of its customers' codes
    reading_day smallint not null check (reading_day between 1 and 31),
    cycle       text not null default 'monthly' check (cycle in ('monthly', 'twice', 'three_times')),
    reader      text not null default ''
);
alter table metering_point add column book_id text references reading_book;
create index metering_point_book_idx on metering_point (book_id, metering_point_id) where book_id is not null;

alter table bill
    add column terms_id        integer,
    -- A row of nine for each part and register: channel, start [µs since 1970 UTC], index [Wh], quality; end, index,
    -- quality; multiplier × 100 + digits; energy [Wh].
    add column metered         bigint[],
    add column line_slot       integer[],
    add column line_wh         bigint[],   -- varh of reactive energy, W of demand
    add column line_amount     bigint[],
    -- Quota of a tier [Wh]; power factor [1/100] × 100,000 + surcharge [1/100 %]; rate of tax [1/1000]; else -1.
    add column line_extra      bigint[],
    add column before_daily_wh integer[],  -- of the twelve periods before, newest first, -1 where there was none
    add column more            jsonb,      -- what few bills need besides
    add column inputs_schema   smallint not null default 2,
    add column document_hash   bytea;      -- SHA-256 over inputs, lines and amounts: what a replay must come to

insert into bill_terms (category, voltage, households, three_rates, solar_regime)
select distinct c ->> 'category', c ->> 'voltage', (c ->> 'households')::integer, (c ->> 'three_rates')::boolean,
       c ->> 'solar_regime'
from (select inputs -> 'contract' from bill) as b (c);

insert into bill_slot (slot)
select distinct operands - array['kwh', 'kvarh', 'kw', 'amount', 'quota_kwh', 'households', 'base_amount', 'power_factor']
                - case when kind = 'reactive' then array['share'] else array[]::text[] end
from bill_line;

update bill b set
    inputs_schema = 1,
    terms_id = (select terms_id from bill_terms t
                where t.category = b.inputs -> 'contract' ->> 'category'
                  and t.voltage is not distinct from b.inputs -> 'contract' ->> 'voltage'
                  and t.households = (b.inputs -> 'contract' ->> 'households')::integer
                  and t.three_rates = (b.inputs -> 'contract' ->> 'three_rates')::boolean
                  and t.solar_regime is not distinct from b.inputs -> 'contract' ->> 'solar_regime'),
    metered = (
        select coalesce(array_agg(v order by m.n, r.n, k), '{}')
        from jsonb_array_elements(b.inputs -> 'meters') with ordinality as m (meter, n)
        cross join jsonb_array_elements(m.meter -> 'registers') with ordinality as r (register, n)
        join channel c on c.meter_id = m.meter ->> 'meter_id' and c.obis = r.register ->> 'obis'
        cross join lateral (values
            (1, c.channel_id::bigint),
            (2, (extract(epoch from (r.register #>> '{readings,0,at}')::timestamptz) * 1000000)::bigint),
            (3, (r.register #>> '{readings,0,value_wh}')::bigint), (4, (r.register #>> '{readings,0,quality}')::bigint),
            (5, (extract(epoch from (r.register #>> '{readings,1,at}')::timestamptz) * 1000000)::bigint),
            (6, (r.register #>> '{readings,1,value_wh}')::bigint), (7, (r.register #>> '{readings,1,quality}')::bigint),
            (8, (m.meter ->> 'multiplier')::bigint * 100 + (m.meter ->> 'digits')::bigint),
            (9, (r.register ->> 'energy_wh')::bigint)) as u (k, v)),
    more = nullif(jsonb_strip_nulls(jsonb_build_object(
        'carried_in_wh', b.inputs -> 'carried_in_wh', 'carried_from', b.inputs -> 'carried_from',
        'settle_carry', b.inputs -> 'settle_carry')), '{}');

update bill b set (line_slot, line_wh, line_amount, line_extra) = (
    select coalesce(array_agg(s.slot_id order by l.line), '{}'),
           coalesce(array_agg(coalesce(l.energy_wh, 0) order by l.line), '{}'),
           coalesce(array_agg(l.amount order by l.line), '{}'),
           coalesce(array_agg(case
               when l.kind = 'vat' then round((split_part(l.operands ->> 'share', '/', 1))::numeric * 1000
                                              / coalesce(nullif(split_part(l.operands ->> 'share', '/', 2), ''), '1')::numeric)
               when l.operands ? 'quota_kwh' then round((l.operands ->> 'quota_kwh')::numeric * 1000)
               else -1 end::bigint order by l.line), '{}')
    from bill_line l
    join bill_slot s on s.slot = l.operands
        - array['kwh', 'kvarh', 'kw', 'amount', 'quota_kwh', 'households', 'base_amount', 'power_factor']
        - case when l.kind = 'reactive' then array['share'] else array[]::text[] end
    where l.bill_id = b.bill_id);

alter table bill alter column inputs_hash type bytea using decode(inputs_hash, 'hex');
alter table bill
    alter column terms_id set not null, alter column metered set not null, alter column line_slot set not null,
    alter column line_wh set not null, alter column line_amount set not null, alter column line_extra set not null,
    drop column inputs,
    drop constraint bill_run_id_fkey, drop constraint bill_metering_point_id_fkey;
alter table solar_purchase drop constraint solar_purchase_bill_id_fkey;
alter table bill_hold drop constraint bill_hold_run_id_fkey, drop constraint bill_hold_metering_point_id_fkey;
drop table bill_line;

create view bill_line as
select b.bill_id, u.line::smallint as line, s.slot ->> 'kind' as kind, (s.slot ->> 'tier')::smallint as tier,
       s.slot ->> 'register' as register, case when s.slot ? 'price' then u.energy_wh end as energy_wh,
       (s.slot ->> 'price')::bigint as price, u.amount, u.extra, s.slot
from bill b
cross join unnest(b.line_slot, b.line_wh, b.line_amount, b.line_extra)
    with ordinality as u (slot_id, energy_wh, amount, extra, line)
join bill_slot s using (slot_id);

create function refuse_while_billed() returns trigger
language plpgsql as $$
begin
    if exists (select from bill where metering_point_id = old.metering_point_id) then
        raise exception 'metering point % has bills and can''t be deleted', old.metering_point_id;
    end if;
    return old;
end
$$;
create trigger metering_point_is_billed before delete on metering_point
for each row execute function refuse_while_billed();

-- Bill control: of which bills a rule spoke, and who must sign. A bill without a row here passed.
create table bill_control (
    bill_id     bigint primary key,
    rules       text[] not null,
    signer      text   not null check (signer in ('nobody', 'controller', 'head', 'director')),
    expected_wh bigint,                    -- of the period; null where the history says nothing
    before_wh   bigint                     -- of the period before, made as long as this one
);

-- What people do with bills: append-only.
create table bill_act (
    act_id   bigint generated always as identity primary key,
    bill_id  bigint not null,
    act      text   not null check (act in ('hold', 'release', 'issue', 'cancel', 'rebill')),
    actor    text   not null check (actor <> ''),
    role     text   not null check (role in ('biller', 'controller', 'head', 'director')),
    note     text   not null default '',
    acted_at timestamptz not null default clock_timestamp()
);
create index bill_act_bill_idx on bill_act (bill_id, act_id);

-- The ledger: double entry, a row is a document's entry, its amounts sum to zero. Append-only, sealed in blocks of
-- which each rests on the one before (billing_core/ledger.py). [đ; debits positive]
create table ledger_block (
    position bigint primary key,           -- place in the chain, from 1 without gaps
    block_id bigint not null unique,
    entries  integer not null,
    run_id   bigint,                       -- the run that was issued; null for single bills
    actor    text not null,
    made_at  timestamptz not null default clock_timestamp(),
    digest   bytea not null
);
create sequence ledger_block_id;
create table ledger_entry (
    block_id       bigint   not null,
    place          integer  not null,
    posting        smallint not null,      -- billing_core.ledger.Posting
    bill_id        bigint   not null,
    receivable     bigint   not null,
    energy         bigint   not null,
    tax            bigint   not null,
    solar_purchase bigint   not null,
    adjustment     bigint   not null,
    rounding       bigint   not null,
    primary key (block_id, place),
    check (receivable + energy + tax + solar_purchase + adjustment + rounding = 0)
);
create index ledger_entry_bill_idx on ledger_entry (bill_id);

create function refuse_to_forget() returns trigger
language plpgsql as $$
begin
    raise exception '% is append-only: enter the opposite instead', tg_table_name;
end
$$;
create trigger ledger_entry_stays before update or delete or truncate on ledger_entry
for each statement execute function refuse_to_forget();
create trigger ledger_block_stays before update or delete or truncate on ledger_block
for each statement execute function refuse_to_forget();
create trigger bill_act_stays before update or delete or truncate on bill_act
for each statement execute function refuse_to_forget();
create trigger bill_stays before update on bill
for each statement execute function refuse_to_forget();

-- How a bill stands. A bill is issued once it is in the ledger.
create view bill_state as
select b.bill_id,
       case
           when exists (select from ledger_entry e where e.bill_id = b.bill_id and e.posting = 3) then 'cancelled'
           when exists (select from ledger_entry e where e.bill_id = b.bill_id and e.posting = 0) then 'issued'
           when exists (select from bill newer
                        where newer.metering_point_id = b.metering_point_id and newer.period_from = b.period_from
                          and newer.period_to = b.period_to and newer.version > b.version) then 'superseded'
           when coalesce((select a.act = 'hold' from bill_act a
                          where a.bill_id = b.bill_id and a.act in ('hold', 'release') order by a.act_id desc limit 1),
                         exists (select from bill_control c where c.bill_id = b.bill_id and c.signer <> 'nobody'))
               then 'held'
           else 'ready'
       end as state
from bill b;
