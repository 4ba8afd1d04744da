-- When a gateway's status came to ingest: of two that are stored side by side the newer one stays. Null: not known.
alter table gateway add column status_arrived_at timestamptz;
