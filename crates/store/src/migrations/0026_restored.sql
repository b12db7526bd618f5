-- Each time that a copy of the database was put back. The last position given out was position_before then, and
-- position_after at the end of the jump over all that may have been given out since the copy was made.
CREATE TABLE restores (
    epoch {key},
    position_before BIGINT NOT NULL,
    position_after BIGINT NOT NULL,
    restored_at BIGINT NOT NULL
);

-- Rooms of which other servers may have events that are not here any longer: they are asked what they have last. tries: how
-- often that was in vain. due_at: not before that, in milliseconds since 1970. A row goes when one of them has answered.
CREATE TABLE rooms_behind (room_num {key}, tries BIGINT NOT NULL, due_at BIGINT NOT NULL);
CREATE INDEX rooms_behind_by_due ON rooms_behind (due_at);

-- 1: the device may believe that keys are backed up which are not, and is told once to look at the backup again.
ALTER TABLE devices ADD COLUMN backup_in_doubt BIGINT NOT NULL DEFAULT 0;

-- Tells this log from those of other databases; copies have the same. Made at the first start.
ALTER TABLE server ADD COLUMN log_id BIGINT;
