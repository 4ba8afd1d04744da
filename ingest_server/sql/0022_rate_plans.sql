-- Rate plans: fixed and minimum charges, demand with a ratchet, and prices of their own, which contracts name. A plan is
-- dated; the one in force on the first day of a period counts. Its figures are those of billing_core/rate_plan.py, and a
-- bill's terms hold them whole, so that a later plan, or a corrected one, makes no other bill of an old one.

create table rate_plan (
    name         text  not null check (name <> ''),
    effective_on date  not null check (extract(day from effective_on) = 1),
    figures      jsonb not null,
    primary key (name, effective_on)
);

alter table contract add column rate_plan text;  -- null: billed by the acts alone

alter table bill_terms
    add column rate_plan text,  -- the plan's figures as JSON
    drop constraint bill_terms_key;
alter table bill_terms add constraint bill_terms_key unique nulls not distinct
    (category, voltage, households, households_parts, three_rates, solar_regime, reactive, undeclared_rental,
     refused_three_rates, two_component, uses, rate_plan);
