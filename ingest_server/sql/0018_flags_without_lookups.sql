-- A flag is kept beside a reading that stands, so its channel is there; each row looked it up all the same, which took
-- most of the time of a NEM12 file of estimates (as reading_conflict: 0008).
alter table reading_flag drop constraint reading_flag_channel_id_fkey;
