-- Finds the rooms that somebody is or was in, by the events that are about them. 2: m.room.member.
CREATE INDEX events_of_members ON events (key_num, room_num) WHERE type_num = 2;
