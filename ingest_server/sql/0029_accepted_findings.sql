-- A billing run holds points with open findings that fail: nearly no month has one, and the index has nothing else.
create index vee_judgement_failed_idx on vee_judgement (metering_point_id, period_from) where severity >= 4;

-- Somebody looked at what a judgement found, and says that the readings stand as they are.
create table vee_acceptance (
    judgement_id bigint      not null references vee_judgement primary key,   -- accepted once
    actor        text        not null check (actor <> ''),
    role         text        not null check (role in ('controller', 'head', 'director')),
    note         text        not null check (note <> ''),
    acted_at     timestamptz not null default clock_timestamp()
);
create trigger vee_acceptance_stays before update or delete or truncate on vee_acceptance
for each statement execute function refuse_to_forget();
