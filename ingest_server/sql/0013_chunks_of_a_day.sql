-- Chunks of a day: the index of the open one stays in memory where that of a week's would not, and readings arrive in
-- any order of channels (measured: docs/decisions/0012). Chunks that exist stay as they are. `congto ingest policies`
-- says whether this machine and registry want another interval.
select set_chunk_time_interval('reading', interval '1 day');
