-- Ways that are gone often: from a gateway to its meters (ingest, at each new gateway), from a meter to where it hangs
-- (billing, API, and the check that no meter hangs at two points at once).
create index meter_gateway_id_idx on meter (gateway_id);
create index installation_meter_id_idx on installation (meter_id);
