-- Unread counts: the totals of a room run along its timeline, so that what somebody has not read is a difference.
-- shape: what kind of event it is to push rules (see Shape in pushrules); NULL outside of the live timeline.
-- thread_num: the root of the thread that the event is in; 0 in the main timeline. totals: how many events of which shape
-- the main timeline has up to and with this one; thread_totals: the same of the event's thread.
ALTER TABLE events ADD COLUMN shape BIGINT;
ALTER TABLE events ADD COLUMN thread_num BIGINT NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN totals {bytes};
ALTER TABLE events ADD COLUMN thread_totals {bytes};
CREATE INDEX events_by_sender ON events (room_num, sender_num, thread_num, place_major);
CREATE INDEX events_by_thread ON events (room_num, thread_num, place_major) WHERE thread_num > 0;
CREATE INDEX events_redacted ON events (room_num, place_major) WHERE redacted_by IS NOT NULL;

-- Each thread's end: the position of its last event, and its totals there. They stay as long as the room does.
CREATE TABLE thread_ends (
    room_num BIGINT NOT NULL,
    thread_num BIGINT NOT NULL,
    root_id TEXT NOT NULL,
    last_position BIGINT NOT NULL,
    totals {bytes} NOT NULL,
    PRIMARY KEY (room_num, thread_num)
) {keyed};
CREATE INDEX thread_ends_by_position ON thread_ends (room_num, last_position);

-- Events of which a user's rules said something of their own when they came, beside what they say of the event's shape:
-- mentions, words, senders. A receipt that passes them deletes them, and so does leaving the room.
CREATE TABLE unread_exceptions (
    user_num BIGINT NOT NULL,
    room_num BIGINT NOT NULL,
    event_num BIGINT NOT NULL,
    thread_num BIGINT NOT NULL,
    notify BIGINT NOT NULL,
    highlight BIGINT NOT NULL,
    PRIMARY KEY (user_num, room_num, event_num)
) {keyed};
