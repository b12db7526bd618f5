-- What lists of rooms show of a room, drawn from its current state by the transaction that changes that: see
-- room_details.rs. is_public: listed in the directory. created: the position of the create event. allowed: the rooms
-- whose members a restricted room lets in, separated by spaces. A row lives as long as its room.
CREATE TABLE room_details (
    room_num BIGINT PRIMARY KEY,
    is_public BIGINT NOT NULL,
    created BIGINT NOT NULL,
    joined BIGINT NOT NULL,
    join_rule {bytes} NOT NULL,
    world_readable BIGINT NOT NULL,
    guest_can_join BIGINT NOT NULL,
    room_type {bytes},
    name {bytes},
    topic {bytes},
    avatar_url {bytes},
    canonical_alias {bytes},
    encryption {bytes},
    allowed TEXT NOT NULL
);
CREATE INDEX room_details_public ON room_details (joined, created) WHERE is_public = 1 AND joined > 0;
-- Nothing was released without this table. A room from before shows what its state says once that changes.
INSERT INTO room_details (room_num, is_public, created, joined, join_rule, world_readable, guest_can_join, allowed)
    SELECT room_num, is_public,
        (SELECT COALESCE(MIN(place_major), 0) FROM events WHERE events.room_num = rooms.room_num AND place_major IS NOT NULL),
        (SELECT COUNT(*) FROM memberships WHERE memberships.room_num = rooms.room_num AND membership = 2),
        CAST('invite' AS {bytes}), 0, 0, ''
    FROM rooms;
ALTER TABLE rooms DROP COLUMN is_public;

-- The words by which a local user is found: of the user's id (source 0) and display name (source 1), in lower case. Those
-- of a display name change with it; all go with the account.
CREATE TABLE user_words (
    word {bytes} NOT NULL,
    user_num BIGINT NOT NULL,
    source BIGINT NOT NULL,
    PRIMARY KEY (word, user_num, source)
) {keyed};
CREATE INDEX user_words_by_user ON user_words (user_num, source);

-- What users have reported to the administrator. kind: 0 a room, 1 an event, 2 a user. target: its id; room_id: the
-- event's room, else empty. A user reports a thing once: reporting it again replaces the reason. The administrator
-- deletes reports.
CREATE TABLE reports (
    report_num {id},
    reporter BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    target TEXT NOT NULL,
    room_id TEXT NOT NULL,
    reason {bytes} NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (reporter, kind, target)
);
