-- From meter to bill: the first schema.
-- Times are UTC. Energy is in Wh and other readings in the base unit of their OBIS code; money is in đồng.

create table gateway (
    gateway_id      text primary key,
    registered_at   timestamptz not null default now(),
    state           text not null default 'unknown' check (state in ('unknown', 'online', 'offline')),
    last_contact_at timestamptz,               -- server's clock, any message
    status          jsonb                      -- the last status message
);

create table meter (
    meter_id   text primary key,
    gateway_id text not null references gateway,
    model      text not null,
    serial     text,
    digits     smallint not null default 9 check (digits between 4 and 12),  -- of a billing register, in kWh
    registered_at timestamptz not null default now()
);

create table channel (
    channel_id integer generated always as identity primary key,
    meter_id   text not null references meter,
    obis       text not null,
    unit       text not null,
    unique (meter_id, obis)
);

create table reading (
    channel_id  integer     not null,
    measured_at timestamptz not null,
    value       bigint      not null,
    quality     smallint    not null,
    primary key (channel_id, measured_at)
);
select create_hypertable('reading', 'measured_at', chunk_time_interval => interval '7 days',
                         create_default_indexes => false);

-- The same key with another value: kept and shown, never an overwrite (architecture, decision 4).
create table reading_conflict (
    channel_id  integer     not null references channel,
    measured_at timestamptz not null,
    value       bigint      not null,
    quality     smallint    not null,
    gateway_id  text        not null,
    generation  text        not null,
    sequence    bigint      not null,
    received_at timestamptz not null default now(),
    primary key (channel_id, measured_at, value)
);

-- What could not be decoded or admitted, with its bytes and the reason; re-sent bytes only raise the count.
create table quarantine (
    quarantine_id bigint generated always as identity primary key,
    fingerprint   bytea       not null unique,   -- SHA-256 of topic, reason and payload
    topic         text        not null,
    payload       bytea       not null,
    reason        text        not null,
    times         bigint      not null default 1,
    first_at      timestamptz not null default now(),
    last_at       timestamptz not null default now()
);

-- Which batches of each spool generation are committed. More than one range, or one that does not begin at 1, is a gap.
create table gateway_sequence (
    gateway_id text not null references gateway,
    generation text not null,
    received   int8multirange not null,
    updated_at timestamptz not null default now(),
    primary key (gateway_id, generation)
);

create table customer (
    customer_id text primary key check (length(customer_id) = 13),  -- first six characters: the unit
    name        text not null,
    address     text not null default ''
);

create table metering_point (
    metering_point_id text primary key,          -- customer code and 001, 002, …
    customer_id       text not null references customer
);

-- Which meter measures a point, from when until when (half-open), and by what its registers are multiplied (CT × VT).
create table installation (
    metering_point_id text not null references metering_point,
    meter_id          text not null references meter,
    installed_at      timestamptz not null,
    removed_at        timestamptz,
    multiplier        integer not null default 1 check (multiplier > 0),
    primary key (metering_point_id, installed_at),
    check (removed_at is null or removed_at > installed_at)
);

create table contract (
    metering_point_id text not null references metering_point,
    valid_from        date not null,
    valid_to          date,                      -- inclusive; null: in force
    category          text not null,             -- as in billing_core: residential, production, business, …
    voltage           text,                      -- lt6, 6_22, 22_110, ge22, ge110; null for residential
    households        integer not null default 1 check (households > 0),
    three_rates       boolean not null default false,
    solar_regime      text,                      -- null: no export is settled
    primary key (metering_point_id, valid_from),
    check (valid_to is null or valid_to >= valid_from)
);

create table billing_run (
    run_id       bigint generated always as identity primary key,
    period_from  date not null,
    period_to    date not null,                  -- inclusive
    started_at   timestamptz not null default now(),
    finished_at  timestamptz,
    code_version text not null
);

create table bill (
    bill_id           bigint generated always as identity primary key,
    run_id            bigint not null references billing_run,
    metering_point_id text   not null references metering_point,
    period_from       date   not null,
    period_to         date   not null,
    version           integer not null default 1,
    energy_wh         bigint not null,
    subtotal          bigint not null,
    vat               bigint not null,
    total             bigint not null,
    inputs            jsonb  not null,           -- every operand: readings with their times, contract, tariff acts
    inputs_hash       text   not null,           -- SHA-256 of the canonical inputs; the same inputs make no second bill
    created_at        timestamptz not null default now(),
    unique (metering_point_id, period_from, period_to, version)
);

create table bill_line (
    bill_id  bigint   not null references bill,
    line     smallint not null,
    kind     text     not null,
    tier     smallint,
    register text,
    energy_wh bigint,
    price    bigint,                             -- đồng a kWh
    amount   bigint   not null,
    operands jsonb    not null,                  -- what is needed to compute and explain the line again
    primary key (bill_id, line)
);

-- A bill that can't be computed is held with its reason, never guessed (architecture, decision 13).
create table bill_hold (
    run_id            bigint not null references billing_run,
    metering_point_id text   not null references metering_point,
    reason            text   not null,
    detail            text   not null,
    primary key (run_id, metering_point_id)
);

-- Energy bought from a customer's roof: a document of its own beside the bill.
create table solar_purchase (
    bill_id   bigint primary key references bill,
    regime    text   not null,
    energy_wh bigint not null,
    price     bigint not null,
    amount    bigint not null,
    carried_in_wh  bigint not null default 0,    -- net metering only: surplus brought in, and handed on
    carried_out_wh bigint not null default 0,
    operands  jsonb  not null
);
