-- Net metering of a three-rate meter keeps a surplus by rate: of the whole, what is of the peak and of the off-peak rate;
-- the rest is of the normal one, as all of it is without three rates.

alter table solar_purchase
    add column carried_cd_wh bigint not null default 0 check (carried_cd_wh >= 0),   -- of carried_out_wh [Wh]
    add column carried_td_wh bigint not null default 0 check (carried_td_wh >= 0);

alter table bill_difference
    add column carried_cd_wh bigint not null default 0,   -- what should be less what was so far, of carried_out_wh [Wh]
    add column carried_td_wh bigint not null default 0;

create or replace view bill_standing as
select b.bill_id,
       b.energy_wh + coalesce(d.energy_wh, 0) as energy_wh, b.subtotal + coalesce(d.subtotal, 0) as subtotal,
       b.vat + coalesce(d.vat, 0) as vat, b.total + coalesce(d.total, 0) as total,
       coalesce(d.inputs_hash, b.inputs_hash) as inputs_hash,
       coalesce(d.purchased_wh, 0) as purchased_wh_more, coalesce(d.purchased, 0) as purchased_more,
       coalesce(d.carried_out_wh, 0) as carried_out_wh_more,
       coalesce(d.carried_cd_wh, 0) as carried_cd_wh_more, coalesce(d.carried_td_wh, 0) as carried_td_wh_more
from bill b
left join lateral (
    select sum(f.energy_wh)::bigint as energy_wh, sum(f.subtotal)::bigint as subtotal, sum(f.vat)::bigint as vat,
           sum(f.total)::bigint as total, (array_agg(f.inputs_hash order by f.difference_id desc))[1] as inputs_hash,
           sum(f.purchased_wh)::bigint as purchased_wh, sum(f.purchased)::bigint as purchased,
           sum(f.carried_out_wh)::bigint as carried_out_wh,
           sum(f.carried_cd_wh)::bigint as carried_cd_wh, sum(f.carried_td_wh)::bigint as carried_td_wh
    from bill_difference f
    join bill_difference_act a using (difference_id)
    where f.bill_id = b.bill_id and a.act = 'approve'
) d on true;
