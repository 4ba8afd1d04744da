-- What validation knows of meters beside their readings: plates, meanings of log entries, check meters, transformers.
-- A row is put in the place of another by a later one of the same key; who entered it and from what is kept.

create table meter_plate (
    plate_id      bigint generated always as identity primary key,
    meter_id      text     not null references meter,
    valid_from    date     not null,
    digits        smallint check (digits between 4 and 12),          -- of the register, in kWh, as the meter shows it
    multiplier    integer  check (multiplier > 0),                   -- CT × VT that the meter or its plate says
    interval_min  smallint check (interval_min between 1 and 1440),  -- of the profile that the meter captures
    voltage_v     integer  check (voltage_v > 0),                    -- between phases; one phase: to neutral
    current_max_a integer  check (current_max_a > 0),
    phases        smallint check (phases in (1, 3)),
    class_e3      integer  check (class_e3 between 1 and 10000),     -- accuracy in thousandths of a per cent: 0.5 is 500
    source        text     not null check (source <> ''),
    entered_by    text     not null check (entered_by <> ''),
    entered_at    timestamptz not null default clock_timestamp()
);
create index meter_plate_meter_idx on meter_plate (meter_id, valid_from desc, plate_id desc);
create trigger meter_plate_stays before update or delete or truncate on meter_plate
for each statement execute function refuse_to_forget();

-- What an entry of a meter model's event log says; "*" is every model. 'nothing' silences what congto takes it for.
create table meter_log_code (
    log_code_id bigint generated always as identity primary key,
    model       text    not null check (model <> ''),
    code        integer not null,
    status      text    not null check (status in ('nothing', 'power_fail', 'overflow', 'test_mode', 'memory_error',
                                                   'watchdog', 'tamper', 'cover_open', 'magnet', 'reverse_flow',
                                                   'clock_set')),
    source      text    not null check (source <> ''),
    entered_by  text    not null check (entered_by <> ''),
    entered_at  timestamptz not null default clock_timestamp()
);
create trigger meter_log_code_stays before update or delete or truncate on meter_log_code
for each statement execute function refuse_to_forget();

-- A second meter at a point, which bills nothing: the first is held against it.
create table check_meter (
    check_meter_id    bigint generated always as identity primary key,
    metering_point_id text    not null references metering_point,
    meter_id          text    not null references meter,
    valid_from        date    not null,
    valid_to          date,                    -- inclusive; null: it hangs there
    multiplier        integer not null default 1 check (multiplier > 0),
    source            text    not null check (source <> ''),
    entered_by        text    not null check (entered_by <> ''),
    entered_at        timestamptz not null default clock_timestamp(),
    check (valid_to is null or valid_to >= valid_from)
);
create index check_meter_point_idx on check_meter (metering_point_id, valid_from desc, check_meter_id desc);
create trigger check_meter_stays before update or delete or truncate on check_meter
for each statement execute function refuse_to_forget();

-- Which meter measures what a transformer gives, and which feeder (meter.feeder) hangs on it.
create table transformer (
    row_id         bigint generated always as identity primary key,
    transformer_id text    not null check (transformer_id <> ''),
    feeder         text    not null,
    meter_id       text    not null references meter,
    valid_from     date    not null,
    valid_to       date,
    multiplier     integer not null default 1 check (multiplier > 0),
    source         text    not null check (source <> ''),
    entered_by     text    not null check (entered_by <> ''),
    entered_at     timestamptz not null default clock_timestamp(),
    check (valid_to is null or valid_to >= valid_from)
);
create index transformer_id_idx on transformer (transformer_id, valid_from desc, row_id desc);
create trigger transformer_stays before update or delete or truncate on transformer
for each statement execute function refuse_to_forget();

-- The balance of a transformer over a month as a validation run found it. The same balance is not written twice.
create table transformer_balance (
    balance_id     bigint generated always as identity primary key,
    vee_run_id     bigint   not null references vee_run,
    transformer_id text     not null,
    period_from    date     not null,
    version        integer  not null,
    supplied_wh    bigint   not null,
    delivered_wh   bigint   not null,
    points         integer  not null,
    rule_version   smallint not null,
    severity       smallint not null,          -- of V43; 0: within what is usual
    evidence       jsonb    not null,
    unique (transformer_id, period_from, version)
);
create index transformer_balance_period_idx on transformer_balance (period_from, transformer_id, version desc);
create trigger transformer_balance_stays before update or delete or truncate on transformer_balance
for each statement execute function refuse_to_forget();
