-- Events that relate to one in one way, newest first.
CREATE INDEX relations_by_type ON relations (target, room_num, rel_type, place_major, place_minor);

-- A user's threads in a room: those in which they have said something, and those that they began.
CREATE INDEX thread_participants_by_user ON thread_participants (user_num, room_num);
CREATE INDEX aggregations_of_roots ON aggregations (root_sender, room_num) WHERE thread_major IS NOT NULL;

-- Where a room's history visibility changed: 5 is the number of its type.
CREATE INDEX state_deltas_of_visibility ON state_deltas (room_num, position) WHERE type_num = 5;
