-- Up to where users have read: the last receipt of each user, room, kind and thread, at the position of its last change.
-- kind: 1 m.read, 2 m.read.private. thread: empty for an unthreaded receipt, 'main', or the event id of the thread's root.
-- place_major, place_minor: the event's place in the room's order, which never changes. They stay as long as the room does.
CREATE TABLE receipts (
    user_num BIGINT NOT NULL,
    room_num BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    thread {bytes} NOT NULL,
    event_id TEXT NOT NULL,
    place_major BIGINT NOT NULL,
    place_minor BIGINT NOT NULL,
    sent_at BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_num, room_num, kind, thread)
) {keyed};
CREATE UNIQUE INDEX receipts_by_position ON receipts (room_num, position);

-- Receipts for events that are not in the room's timeline yet: whoever appends the event applies them. Swept by age.
CREATE TABLE waiting_receipts (
    room_num BIGINT NOT NULL,
    user_num BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    thread {bytes} NOT NULL,
    event_id TEXT NOT NULL,
    sent_at BIGINT NOT NULL,
    PRIMARY KEY (room_num, user_num, kind, thread)
) {keyed};
CREATE INDEX waiting_receipts_by_age ON waiting_receipts (sent_at);

-- Whether there may be any for the room: an append learns it with the row that it changes anyway.
ALTER TABLE rooms ADD COLUMN has_waiting_receipts BIGINT NOT NULL DEFAULT 0;
