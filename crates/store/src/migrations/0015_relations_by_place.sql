-- The relations of a room in its order, and by the place of the event that relates.
CREATE INDEX relations_by_place ON relations (room_num, place_major, place_minor);
