-- Files of readings: how far an import has come, so that a killed one goes on where it was; a finished one has no row.

create table bulk_import (
    file_sha256 bytea  primary key,
    name        text   not null,
    rows        bigint not null,               -- of the file, from its beginning, that are committed
    updated_at  timestamptz not null default now()
);

-- What a file's own format says of a reading's quality beyond our flags, such as the method in NEM12's "E52".
create table reading_flag (
    channel_id  integer     not null references channel,
    measured_at timestamptz not null,
    flag        text        not null,
    primary key (channel_id, measured_at)
);
