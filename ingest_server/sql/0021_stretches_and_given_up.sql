-- What a file says of its readings' quality it says of hours or days of them: one row for each stretch of readings with
-- one flag and one step, and not one for each reading, which made an import of estimates write twice as many rows.
-- A stretch holds only readings that stood when it was stored, and lies within one UTC day.
alter table reading_flag rename constraint reading_flag_pkey to reading_flag_before_pkey;
alter table reading_flag rename to reading_flag_before;
create table reading_flag (
    channel_id integer     not null,
    first_at   timestamptz not null,
    last_at    timestamptz not null check (last_at >= first_at and last_at < first_at + interval '1 day'),
    step_ms    bigint      check (step_ms > 0),     -- null if it is of one reading alone
    flag       text        not null,
    primary key (channel_id, first_at, last_at)
);
insert into reading_flag select channel_id, measured_at, measured_at, null, flag from reading_flag_before;
drop table reading_flag_before;

-- What a file said of one reading; null if nothing.
create function reading_flag_of(a_channel_id integer, at timestamptz) returns text
language sql stable as $$
    select flag
    from reading_flag f
    where f.channel_id = a_channel_id and f.first_at <= at and f.first_at > at - interval '1 day' and f.last_at >= at
        and (f.first_at = at or mod((extract(epoch from at - f.first_at) * 1000)::bigint, f.step_ms) = 0)
    order by first_at, last_at desc
    limit 1
$$;

-- Batches, and messages of events, of which the quarantine had no room for something. Their gateways are asked for them
-- again once there is room, or once other channels are registered than were then.
create table quarantine_given_up (
    gateway_id text not null references gateway,
    kind       text not null,                  -- why they were refused, as in quarantine
    generation text not null,
    sequences  int8multirange not null default '{}',
    events     int8multirange not null default '{}',
    channels   numeric     not null,           -- gateway_channels() when the last of them came
    cured      boolean     not null default false,  -- another number was seen since
    last_at    timestamptz not null default now(),
    primary key (gateway_id, kind, generation)
);

-- A number that is another one when other channels are registered at a gateway.
create function gateway_channels(a_gateway_id text) returns numeric
language sql stable as $$
    select coalesce(sum(channel_id::numeric * channel_id), 0)
    from channel
    join meter using (meter_id)
    where gateway_id = a_gateway_id
$$;
