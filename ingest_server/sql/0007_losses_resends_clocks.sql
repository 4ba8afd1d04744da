-- What gateways have declared lost, what they are asked to send again, and how far clocks are off.

alter table gateway_sequence
    add column lost   int8multirange not null default '{}',  -- declared: these batches will never come
    add column events int8multirange not null default '{}';  -- messages of events, which are numbered apart

create table gateway_loss (
    gateway_id  text   not null references gateway,
    generation  text   not null,
    fingerprint bytea  not null,               -- SHA-256 of what it says: one that comes again is known
    sequences   int8multirange not null,
    reason      text   not null,               -- as in protocols/telemetry/loss.py
    readings    bigint,                        -- how many were in them, and their times, if the gateway knows
    first_at    timestamptz,
    last_at     timestamptz,
    received_at timestamptz not null default now(),
    primary key (gateway_id, generation, fingerprint)
);

-- Batches that a gateway must have sent, for later ones of the same spool came, and that neither arrived nor were
-- declared lost.
create or replace view gateway_sequence_gap as
select gateway_id, generation, lower(hole) as first, upper(hole) - 1 as last, updated_at
from gateway_sequence,
    unnest(int8multirange(int8range(1, coalesce(greatest(upper(received), upper(lost)), 1))) - received - lost) as hole;

-- The same of messages of events.
create view gateway_event_gap as
select gateway_id, generation, lower(hole) as first, upper(hole) - 1 as last, updated_at
from gateway_sequence, unnest(int8multirange(int8range(1, coalesce(upper(events), 1))) - events) as hole;

-- What a gateway is asked to send again. A row is made when a gap shows, or by `congto ingest resend` and
-- `congto ingest restore`: then everything from the watermark on is asked for, until something above it comes.
create table resend_request (
    gateway_id text not null references gateway,
    generation text not null,
    watermark  bigint,                         -- the highest sequence that was there when all above it was asked for
    seen_at    timestamptz not null default now(),
    times      integer not null default 0,
    asked_at   timestamptz,
    primary key (gateway_id, generation)
);

-- How far clocks are ahead: each meter's of its gateway's, each gateway's of the server's. The last that was told.
create table meter_clock (
    meter_id text primary key references meter,
    ahead_ms bigint      not null,
    told_at  timestamptz not null              -- by the gateway's clock
);
alter table gateway
    add column clock_ahead_ms bigint,          -- transit included, so a little too low
    add column clock_told_at  timestamptz;     -- by the server's clock
