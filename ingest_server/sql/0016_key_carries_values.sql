-- A channel's readings are asked for by channel and lie in the table by time, so each was in a page of its own: a month
-- was 1,500 pages, a fifth of a second where they are not in memory. The key lies by channel: with the values in it
-- the table isn't looked at (measured: docs/decisions/0012). That holds for pages that vacuum has seen, so it shall
-- come after each fiftieth of a chunk; a table that only grows is otherwise seen after each fifth.
alter table reading drop constraint reading_pkey;
alter table reading add primary key (channel_id, measured_at) include (value, quality);
alter table reading set (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = 10000);
