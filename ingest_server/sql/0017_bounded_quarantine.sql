-- The quarantine is bounded: of each gateway and kind of refusal a maximum is kept, and what is given up is counted.
-- Gateways that are not registered share one group of the name '', so that made-up names do not multiply the maximum.

alter table quarantine
    add column gateway_id text    not null default '',
    add column kind       text    not null default 'earlier',  -- as in ingest_server/pipeline/message.py
    add column latest     boolean not null default false;      -- came when its group was full; the next takes its place

update quarantine set gateway_id = gateway.gateway_id
from gateway
where gateway.gateway_id = split_part(topic, '/', 3);
create unique index quarantine_latest_idx on quarantine (gateway_id, kind) where latest;

-- A message counts with all that it takes on the disk: its columns, and half a kilobyte for its row and its indexes.
create function quarantine_octets(payload bytea, topic text, reason text) returns bigint
language sql immutable parallel safe
return octet_length(payload) + octet_length(topic) + octet_length(reason) + 512;

create table quarantine_group (
    gateway_id      text   not null,
    kind            text   not null,
    messages        bigint not null default 0,  -- that lie there, without the latest
    octets          bigint not null default 0,
    given_up        bigint not null default 0,  -- messages that came when the group was full, as often as they came
    given_up_octets bigint not null default 0,
    first_given_up_at timestamptz,
    last_given_up_at  timestamptz,
    primary key (gateway_id, kind)
);

insert into quarantine_group (gateway_id, kind, messages, octets)
select gateway_id, kind, count(*), sum(quarantine_octets(payload, topic, reason))
from quarantine
group by gateway_id, kind;

-- Whoever deletes makes room. What comes is counted by whoever put it there, who holds the group's row already.
create function leave_quarantine_group() returns trigger
language plpgsql as $$
begin
    update quarantine_group g set messages = g.messages - d.messages, octets = g.octets - d.octets
    from (
        select gateway_id, kind, count(*) as messages, sum(quarantine_octets(payload, topic, reason)) as octets
        from deleted
        where not latest
        group by gateway_id, kind
        order by gateway_id, kind
    ) d
    where g.gateway_id = d.gateway_id and g.kind = d.kind;
    return null;
end
$$;
create trigger quarantine_leave after delete on quarantine referencing old table as deleted for each statement
execute function leave_quarantine_group();

-- Events by time, whatever meter: for lists of all.
create index meter_event_happened_at_idx on meter_event (happened_at, meter_id, fingerprint);
