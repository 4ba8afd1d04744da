-- Parameters of validation rules that a company sets for a class of customers, or for one point until a day: who, why,
-- and who else approved it. Nothing is changed in place; of rows that hold on a day the one approved last counts.

create table vee_parameter (
    parameter_id      bigint generated always as identity primary key,
    meter_class       text   check (meter_class in ('household', 'shop', 'large')),
    metering_point_id text   references metering_point,
    name              text   not null check (name <> ''),      -- of billing_core.validation.parameters
    value             bigint not null check (value >= 0),
    start_on          date   not null,
    end_on            date,                                    -- inclusive; null, for a class only: until another holds
    why               text   not null check (why <> ''),
    made_by           text   not null check (made_by <> ''),
    made_at           timestamptz not null default clock_timestamp(),
    check (num_nonnulls(meter_class, metering_point_id) = 1),
    check (end_on is not null or meter_class is not null),
    check (end_on >= start_on)
);
create index vee_parameter_point_idx on vee_parameter (metering_point_id) where metering_point_id is not null;
create trigger vee_parameter_stays before update or delete or truncate on vee_parameter
for each statement execute function refuse_to_forget();

create table vee_parameter_act (
    act_id       bigint generated always as identity,
    parameter_id bigint not null references vee_parameter primary key,   -- decided once
    act          text   not null check (act in ('approve', 'reject')),
    actor        text   not null check (actor <> ''),
    note         text   not null check (note <> ''),
    acted_at     timestamptz not null default clock_timestamp()
);
create trigger vee_parameter_act_stays before update or delete or truncate on vee_parameter_act
for each statement execute function refuse_to_forget();
