-- Registers that were set back, or set to another index, while their meter hung: what each showed just before and just
-- after. A register that is not named was not set; then its reading at that instant is what billing asks for.

create table register_reset (
    meter_id   text        not null references meter,
    reset_at   timestamptz not null,
    obis       text        not null,
    before     bigint      not null check (before >= 0),   -- in the base unit of the OBIS code, before the multiplier
    after      bigint      not null check (after >= 0),
    source     text        not null check (source <> ''),
    entered_at timestamptz not null default clock_timestamp(),
    primary key (meter_id, reset_at, obis)
);
create index register_reset_reset_at_idx on register_reset (reset_at);

-- Some meters log that it was done, though not what they showed.
alter table meter_log_code
    drop constraint meter_log_code_status_check,
    add constraint meter_log_code_status_check check (status in (
        'nothing', 'power_fail', 'overflow', 'test_mode', 'memory_error', 'watchdog', 'tamper', 'cover_open', 'magnet',
        'reverse_flow', 'clock_set', 'registers_set'));
