-- Validation, estimation, editing: what the rules found, and readings that somebody put beside those of the meters.
--
-- Nothing here is updated or deleted. A meter's month that is judged again for other data or rules gets another
-- judgement; a reading that is changed again gets another version; undoing is a version too. What billing takes is the
-- newest approved version of a reading, and an estimate only while the meter's own reading is not there.

create table vee_run (
    vee_run_id  bigint generated always as identity primary key,
    period_from date        not null,
    period_to   date        not null,
    rule_set    text        not null,          -- hash of rules and parameters
    actor       text        not null,
    started_at  timestamptz not null default clock_timestamp()
);
create trigger vee_run_stays before update or delete or truncate on vee_run
for each statement execute function refuse_to_forget();

create table vee_judgement (
    judgement_id      bigint generated always as identity primary key,
    vee_run_id        bigint   not null references vee_run,
    metering_point_id text     not null,
    channel_id        integer  not null,
    period_from       date     not null,
    version           integer  not null,
    rule_set          text     not null,
    inputs_hash       bytea    not null,       -- of the readings that were judged: the same are not judged twice
    severity          smallint not null,       -- of the gravest finding: billing_core.validation.catalogue.Severity
    monthly_wh        bigint   not null,       -- what it takes in a month: the stake of a case
    unique (channel_id, period_from, version)
);
create index vee_judgement_period_idx on vee_judgement (period_from, channel_id, version desc);
create trigger vee_judgement_stays before update or delete or truncate on vee_judgement
for each statement execute function refuse_to_forget();

create table vee_finding (
    judgement_id bigint   not null references vee_judgement,
    rule         text     not null,
    found_on     date     not null,            -- the day; of a finding about a month, its first
    rule_version smallint not null,
    severity     smallint not null,
    evidence     jsonb    not null,
    primary key (judgement_id, rule, found_on)
);
create trigger vee_finding_stays before update or delete or truncate on vee_finding
for each statement execute function refuse_to_forget();

-- A proposal to put readings beside a meter's own: what is decided about it, all of it or nothing.
create table reading_change (
    change_id         bigint generated always as identity primary key,
    metering_point_id text        not null,
    channel_id        integer     not null references channel,
    kind              text        not null check (kind in ('estimate', 'edit', 'undo', 'true_up')),
    made_by           text        not null check (made_by <> ''),
    made_at           timestamptz not null default clock_timestamp(),
    why               text        not null check (why <> ''),
    rule_set          text        not null,
    undoes            bigint references reading_change,
    acts_before       bigint      not null,    -- the newest decision when it was made: later ones may overtake it
    parent_hash       bytea       not null,    -- of the channel's change before this one; empty for its first
    hash              bytea       not null,    -- SHA-256 of the parent's, this row and its versions
    unique (channel_id, parent_hash)           -- two who propose at once can't both follow the same one
);
create index reading_change_point_idx on reading_change (metering_point_id, change_id);
create trigger reading_change_stays before update or delete or truncate on reading_change
for each statement execute function refuse_to_forget();

create table reading_version (
    change_id   bigint      not null references reading_change,
    channel_id  integer     not null,
    measured_at timestamptz not null,
    value       bigint,                        -- null: what the meter said stands again
    quality     smallint    not null,
    method      smallint    not null,          -- billing_core.estimation.provenance
    reason      smallint    not null,
    primary key (change_id, measured_at)
);
create index reading_version_instant_idx on reading_version (measured_at, channel_id);
create index reading_version_channel_idx on reading_version (channel_id, measured_at);
create trigger reading_version_stays before update or delete or truncate on reading_version
for each statement execute function refuse_to_forget();

create table reading_change_act (
    act_id     bigint generated always as identity,
    change_id  bigint not null references reading_change primary key,   -- decided once
    act        text   not null check (act in ('approve', 'reject')),
    actor      text   not null check (actor <> ''),
    role       text   not null check (role in ('biller', 'controller', 'head', 'director')),
    effect_wh  bigint not null,                -- the largest effect on one bill, as it was shown to the approver
    effect_vnd bigint not null,
    note       text   not null default '',
    acted_at   timestamptz not null default clock_timestamp()
);
create trigger reading_change_act_stays before update or delete or truncate on reading_change_act
for each statement execute function refuse_to_forget();

-- The newest approved version of each reading, if it is not one that gave the meter its word back.
create view reading_overlay as
select channel_id, measured_at, value, quality, reason, change_id
from (
    select distinct on (v.channel_id, v.measured_at)
           v.channel_id, v.measured_at, v.value, v.quality, v.reason, v.change_id
    from reading_version v
    join reading_change_act a using (change_id)
    where a.act = 'approve'
    order by v.channel_id, v.measured_at, a.act_id desc
) newest
where value is not null;

-- Readings as billing takes them. An estimate (flag 16) gives way to the meter's own reading; what was put in the place
-- of a reading (32) or keyed (64) does not.
create view billing_reading as
select r.channel_id, r.measured_at, coalesce(o.value, r.value) as value, coalesce(o.quality, r.quality) as quality,
       o.change_id
from reading r
left join reading_overlay o on o.channel_id = r.channel_id and o.measured_at = r.measured_at and o.quality & 96 <> 0
union all
select o.channel_id, o.measured_at, o.value, o.quality, o.change_id
from reading_overlay o
where not exists (select from reading r where r.channel_id = o.channel_id and r.measured_at = o.measured_at);

-- Registers at civil midnights that may be leant on: read by the meter and not doubted (4), or put in by people (96).
create view vee_midnight as
select d.channel_id, d.taken_on, d.value
from daily_register d
where d.quality & 4 = 0
  and not exists (select from reading_overlay o
                  where o.channel_id = d.channel_id and o.quality & 96 <> 0
                    and o.measured_at = (d.taken_on::timestamp - interval '7 hours') at time zone 'UTC')
union all
select o.channel_id, civil_day(o.measured_at), o.value
from reading_overlay o
where o.quality & 96 <> 0 and civil_midnight(o.measured_at);
