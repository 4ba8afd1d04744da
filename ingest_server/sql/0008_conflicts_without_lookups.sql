-- A conflict is compared with a reading that stands, whose channel exists and is never removed: looking the channel up
-- for each row took longer than everything else (docs/decisions/0010).
alter table reading_conflict drop constraint reading_conflict_channel_id_fkey;
