-- A contract names its customer, so that who moves in gets a bill of his own days. Null: whose the point was first;
-- so rows that are there need not be written again, and their bills keep their hashes.

alter table contract add column customer_id text references customer;
create index contract_customer_idx on contract (metering_point_id) where customer_id is not null;

alter table metering_point add column first_customer_id text references customer;  -- null: it never changed

create function keep_first_customer() returns trigger
language plpgsql as $$
begin
    new.first_customer_id := coalesce(old.first_customer_id, old.customer_id);
    return new;
end
$$;
create trigger metering_point_first_customer before update of customer_id on metering_point
for each row when (old.customer_id is distinct from new.customer_id) execute function keep_first_customer();
