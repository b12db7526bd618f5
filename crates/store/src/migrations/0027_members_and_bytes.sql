-- Finds the rooms that somebody is or was in, by the events that are about them. 2: m.room.member.
CREATE INDEX events_of_members ON events (key_num, room_num) WHERE type_num = 2;

-- byte_count: how long the keys of a backup are together, with their names.
ALTER TABLE key_backups ADD COLUMN byte_count BIGINT NOT NULL DEFAULT 0;
UPDATE key_backups SET byte_count = COALESCE((SELECT CAST(SUM(length(room_id) + length(session_id) + length(session_data)) AS BIGINT)
    FROM backed_up_keys WHERE backed_up_keys.user_num = key_backups.user_num AND backed_up_keys.version = key_backups.version), 0)
    WHERE key_count > 0;
