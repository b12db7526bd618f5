-- Of each user and server one row is enough: the last one tells all that those before it would have told. server is empty in
-- rows of an older program.
ALTER TABLE device_lists_resent ADD COLUMN server TEXT NOT NULL DEFAULT '';
UPDATE device_lists_resent SET server = COALESCE((SELECT waiting.server FROM destination_events AS waiting
    WHERE waiting.position = device_lists_resent.position), '');
DELETE FROM device_lists_resent WHERE server = '';
DELETE FROM device_lists_resent WHERE position NOT IN
    (SELECT MAX(position) FROM device_lists_resent GROUP BY server, user_num);
CREATE UNIQUE INDEX device_lists_resent_by_server ON device_lists_resent (server, user_num) WHERE server <> '';

-- Users of this server of whom any other server may have a list of devices, though nothing here says that they shared a room
-- with it: the room was purged.
CREATE TABLE device_lists_elsewhere (user_num {key});

-- left_tag: what a member was before, where that has changed (membership.rs; 0: nothing); NULL where it has not, and of what
-- is no member. -1 in rows from before this column: not known.
ALTER TABLE state_deltas ADD COLUMN left_tag BIGINT DEFAULT -1;
