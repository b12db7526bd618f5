-- Rooms that are being purged: they have no row of `rooms` any longer, and a job deletes what is left of them. Nothing of the
-- same id begins before the row is gone.
CREATE TABLE purges (room_num {key}, room_id TEXT NOT NULL UNIQUE);
