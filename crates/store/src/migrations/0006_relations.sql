-- Events that relate to others (m.relates_to), by the other's id, whether that is here or not. A redacted event relates to
-- nothing: its row goes. rel_type: as the client wrote it. place_*: see events.
CREATE TABLE relations (
    target TEXT NOT NULL,
    room_num BIGINT NOT NULL,
    place_major BIGINT NOT NULL,
    place_minor BIGINT NOT NULL,
    event_num BIGINT NOT NULL,
    rel_type {bytes} NOT NULL,
    type_num BIGINT NOT NULL,
    sender_num BIGINT NOT NULL,
    PRIMARY KEY (target, room_num, place_major, place_minor)
) {keyed};

-- What clients are told of an event by what relates to it; no row where that is nothing. edit_num: the newest valid edit.
-- thread_num, thread_major, thread_minor: the thread's last event and its place; NULL while there is no thread.
-- thread_count: its events, without its root. root_sender: who sent the root; NULL where that isn't known here.
-- reference_count: events that refer to it. is_unchecked: 1 where events came before their target, so that nobody could
-- check whether they may relate to it: then readers look at each.
CREATE TABLE aggregations (
    target TEXT NOT NULL,
    room_num BIGINT NOT NULL,
    edit_num BIGINT,
    thread_num BIGINT,
    thread_major BIGINT,
    thread_minor BIGINT,
    thread_count BIGINT NOT NULL,
    root_sender BIGINT,
    reference_count BIGINT NOT NULL,
    is_unchecked BIGINT NOT NULL,
    PRIMARY KEY (target, room_num)
) {keyed};
CREATE INDEX aggregations_of_threads ON aggregations (room_num, thread_major, thread_minor)
    WHERE thread_major IS NOT NULL;

-- Who has sent how many events of a thread.
CREATE TABLE thread_participants (
    target TEXT NOT NULL,
    room_num BIGINT NOT NULL,
    user_num BIGINT NOT NULL,
    event_count BIGINT NOT NULL,
    PRIMARY KEY (target, room_num, user_num)
) {keyed};

-- 1 once an event of the room was an edit, of a thread, or a reference: elsewhere nobody looks for aggregations.
ALTER TABLE rooms ADD COLUMN has_aggregations BIGINT NOT NULL DEFAULT 0;

-- The event's own time, for looking up events by it. NULL: stored before there was this column.
ALTER TABLE events ADD COLUMN origin_server_ts BIGINT;
CREATE INDEX events_by_time ON events (room_num, origin_server_ts, event_num)
    WHERE place_major IS NOT NULL AND origin_server_ts IS NOT NULL;
