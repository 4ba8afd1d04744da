-- The line of the grid that a meter hangs on, for completeness by feeder; null where nobody says.
alter table meter add column feeder text check (length(feeder) between 1 and 64);
