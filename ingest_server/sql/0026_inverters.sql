-- The inverter behind a meter of export, as its plate says: nothing larger can come out of it (V42).

alter table meter_plate add column inverter_w integer check (inverter_w > 0);
