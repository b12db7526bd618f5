-- Whether an event that comes late is followed by others already is asked of each that other servers send.
CREATE INDEX gaps_by_event ON gaps (event_id);

-- What local users were at events of branches (place_major: their positions), where the room's order says something else.
CREATE TABLE fork_members (
    user_num BIGINT NOT NULL,
    room_num BIGINT NOT NULL,
    place_major BIGINT NOT NULL,
    membership BIGINT NOT NULL,
    PRIMARY KEY (user_num, room_num, place_major)
) {keyed};
