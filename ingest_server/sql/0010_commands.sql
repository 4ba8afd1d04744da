-- What was asked of gateways, by whom, and what became of it.

create table command (
    key        text        primary key,        -- idempotency key: the gateway carries it out once
    gateway_id text        not null references gateway,
    kind       text        not null,           -- as in protocols/telemetry/command.py
    meter_id   text,
    token      text,                           -- of the arming that a relay's confirmation belongs to
    asked_by   text        not null,           -- database role and operating system's account
    asked_at   timestamptz not null,
    expires_at timestamptz not null,
    request    bytea       not null,           -- the message as it is sent, so that asking again is the same message
    outcome    text,                           -- null: no reply yet
    reply      bytea,                          -- the message as it came
    replied_at timestamptz
);
create index command_gateway_id_asked_at_idx on command (gateway_id, asked_at);
create index command_token_idx on command (token) where token is not null;

-- The audit of commands: each thing that was done with one, in order. Rows are never changed.
create table command_step (
    key      text        not null references command,
    step     integer     not null,
    done_at  timestamptz not null default now(),
    done_by  text        not null,
    what     text        not null check (what in ('asked', 'asked_again', 'replied', 'given_up')),
    outcome  text,
    primary key (key, step)
);
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are never changed', tg_table_name;
end $$;
create trigger command_step_is_append_only before update or delete on command_step
    for each row execute function refuse_change();
