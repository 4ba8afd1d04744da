-- What contracts may say beyond category, voltage and households (docs/contracts/registry.md), and meters of generation.

alter table contract
    add column contracted_kw       integer check (contracted_kw > 0),   -- reactive energy is charged from 40 kW
    add column tenants             integer check (tenants > 0),         -- people; four make one household
    add column undeclared_rental   boolean not null default false,
    add column refused_three_rates boolean not null default false,
    add column two_component       boolean not null default false,
    add column uses                jsonb;                                -- other uses: category, voltage, share_percent

alter table bill_terms
    add column households_parts    integer not null default 1,          -- households ÷ this: 4 where people are counted
    add column reactive            boolean not null default false,
    add column undeclared_rental   boolean not null default false,
    add column refused_three_rates boolean not null default false,
    add column two_component       boolean not null default false,
    add column uses                text,
    drop constraint bill_terms_category_voltage_households_three_rates_solar_re_key;
alter table bill_terms add constraint bill_terms_key unique nulls not distinct
    (category, voltage, households, households_parts, three_rates, solar_regime, reactive, undeclared_rental,
     refused_three_rates, two_component, uses);

-- A meter of generation stands beside the one that bills: regimes that buy a share of what panels made ask for it.
alter table installation add column role text not null default 'supply' check (role in ('supply', 'generation'));
alter table installation drop constraint installation_pkey;
alter table installation add constraint installation_pkey primary key (metering_point_id, installed_at, role);

-- A bill is superseded by a later one for any of its days: parts of a month take the place of the whole, and back.
create or replace view bill_state as
select b.bill_id,
       case
           when exists (select from ledger_entry e where e.bill_id = b.bill_id and e.posting = 3) then 'cancelled'
           when exists (select from ledger_entry e where e.bill_id = b.bill_id and e.posting = 0) then 'issued'
           when exists (select from bill newer
                        where newer.metering_point_id = b.metering_point_id and newer.period_from <= b.period_to
                          and newer.period_to >= b.period_from and newer.version > b.version) then 'superseded'
           when coalesce((select a.act = 'hold' from bill_act a
                          where a.bill_id = b.bill_id and a.act in ('hold', 'release') order by a.act_id desc limit 1),
                         exists (select from bill_control c where c.bill_id = b.bill_id and c.signer <> 'nobody'))
               then 'held'
           else 'ready'
       end as state
from bill b;

-- What a hold says, as sentences with operands: lists in Vietnamese and English are made of them.
alter table bill_hold add column sentences jsonb;
