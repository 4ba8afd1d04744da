-- What happened at a meter: power fail and return, covers, reverse flow, relay, clock. As gateways say it, each once.

create table meter_event (
    meter_id    text        not null references meter,
    happened_at timestamptz not null,          -- by the clock that saw it, which may be wrong
    fingerprint bytea       not null,          -- SHA-256 of what the event says: an event that comes again is known
    kind        text        not null,          -- as in protocols/telemetry/event.py
    object      text,                          -- OBIS code of the log
    code        bigint,
    value       bigint,
    text        text,
    body        bytea,
    gateway_id  text        not null references gateway,
    received_at timestamptz not null default now(),
    primary key (meter_id, happened_at, fingerprint)
);
create index meter_event_received_at_idx on meter_event (received_at);
