-- A difference that is no late reading but another price: the electricity was used for something else than it was billed
-- for. Its amounts and lines are those of its row in bill_difference, and its right terms too; here is what it goes by.
create table back_billing (
    difference_id bigint primary key references bill_difference,
    first_on      date   not null,         -- of the bill's days the first that is priced again
    found_on      date   not null,
    since_on      date,                    -- when the use changed; null: nobody knows, so twelve months before found_on
    -- inputs_hash of the whole bill by a contract of the right use: a run that comes to it finds the bill as it should be.
    right_hash    bytea
);
create trigger back_billing_stays before update or delete or truncate on back_billing
for each statement execute function refuse_to_forget();
