-- What meters of a class take on a day, for those that have no day of their own (E7): made once in a run that needs it,
-- of meters drawn from the whole registry, so that it is the same for all its points in whatever order they come.
create table vee_class_day (
    vee_run_id    bigint   not null references vee_run,
    meter_class   smallint not null,           -- code of ingest_server.vee.terms_by_day: 0 household, 1 shop, 2 large
    obis          text     not null,
    generation    boolean  not null,
    slots_per_day smallint not null,
    meters        integer  not null,           -- of how many with complete days; of fewer than five it is not used
    daily_wh      bigint   not null,           -- the middle one's usual day
    weights       bigint[] not null,           -- of each slot of the day
    primary key (vee_run_id, meter_class, obis, generation, slots_per_day)
);
create trigger vee_class_day_stays before update or delete or truncate on vee_class_day
for each statement execute function refuse_to_forget();
