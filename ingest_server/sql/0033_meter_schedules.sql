-- Which schedule of the three rates (time_of_use.toml) a meter runs from when on; before its first row the oldest one.

create table meter_schedule (
    meter_id   text        not null references meter,
    since_at   timestamptz not null,
    schedule   text        not null check (schedule <> ''),
    source     text        not null check (source <> ''),
    entered_at timestamptz not null default clock_timestamp(),
    primary key (meter_id, since_at)
);
