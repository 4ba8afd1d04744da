-- Runs of a reading book's own cycle beside those of calendar months. The days of the nominal cycle, T, by which tiers
-- are stretched or shrunk; null for a run of a calendar month, whose T is that month. 1 to the longest billed period.
-- closes_year: no reading of the book follows in that year, so the surplus of net metering is settled.

alter table billing_run
    add column nominal_days integer check (nominal_days between 1 and 400),
    add column closes_year boolean not null default false;
