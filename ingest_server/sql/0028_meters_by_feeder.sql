-- Balances of transformers look at the meters of some feeders at a time.
create index meter_feeder_idx on meter (feeder) where feeder is not null;
