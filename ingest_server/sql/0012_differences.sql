-- What an issued bill should have been, where readings or contracts changed after it went out: a document of its own
-- that belongs to the bill's period, enters the ledger once another person has approved it, and leaves the bill alone.

create table bill_difference (
    difference_id bigint generated always as identity primary key,
    bill_id       bigint   not null,       -- the issued bill
    run_id        bigint   not null,
    energy_wh     bigint   not null,       -- what should be less what the bill and earlier differences say [Wh, đ]
    subtotal      bigint   not null,
    vat           bigint   not null,
    total         bigint   not null,
    terms_id      integer  not null,       -- what follows is the bill as it should have been; see table bill
    metered       bigint[] not null,
    line_slot     integer[] not null,
    line_wh       bigint[] not null,
    line_amount   bigint[] not null,
    line_extra    bigint[] not null,
    inputs_hash   bytea    not null,
    document_hash bytea    not null,
    actor         text     not null,       -- who proposed it
    note          text     not null,
    made_at       timestamptz not null default clock_timestamp()
);
create index bill_difference_bill_idx on bill_difference (bill_id, difference_id);
create trigger bill_difference_stays before update or delete or truncate on bill_difference
for each statement execute function refuse_to_forget();

create table bill_difference_act (
    difference_id bigint not null references bill_difference,
    act           text   not null check (act in ('approve', 'reject')),
    actor         text   not null check (actor <> ''),
    role          text   not null check (role in ('biller', 'controller', 'head', 'director')),
    note          text   not null default '',
    acted_at      timestamptz not null default clock_timestamp(),
    primary key (difference_id)            -- decided once
);
create trigger bill_difference_act_stays before update or delete or truncate on bill_difference_act
for each statement execute function refuse_to_forget();

-- What a bill comes to with the differences that were approved, and the inputs that this rests on.
create view bill_standing as
select b.bill_id,
       b.energy_wh + coalesce(d.energy_wh, 0) as energy_wh, b.subtotal + coalesce(d.subtotal, 0) as subtotal,
       b.vat + coalesce(d.vat, 0) as vat, b.total + coalesce(d.total, 0) as total,
       coalesce(d.inputs_hash, b.inputs_hash) as inputs_hash
from bill b
left join lateral (
    select sum(f.energy_wh)::bigint as energy_wh, sum(f.subtotal)::bigint as subtotal, sum(f.vat)::bigint as vat,
           sum(f.total)::bigint as total, (array_agg(f.inputs_hash order by f.difference_id desc))[1] as inputs_hash
    from bill_difference f
    join bill_difference_act a using (difference_id)
    where f.bill_id = b.bill_id and a.act = 'approve'
) d on true;
