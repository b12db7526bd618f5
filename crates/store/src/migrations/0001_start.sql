-- The first schema. Integers that name things (…_num) are ours and never leave the server; 0 is never one of them.
-- Text that a client chose freely is stored as bytes: it may hold U+0000. Times (…_at, …_ts) are milliseconds since 1970.
-- A column called `position` holds the row's place in the log: unique over all tables, never reused.

-- Whose database this is. The signing key is here only where several nodes share it (PostgreSQL).
CREATE TABLE server (id BIGINT PRIMARY KEY, server_name TEXT NOT NULL, signing_key TEXT);

-- Interned names: every user, local or not, that an event or a local table speaks of.
CREATE TABLE users (user_num {id}, user_id TEXT NOT NULL UNIQUE);
CREATE TABLE event_types (type_num {id}, name {bytes} NOT NULL UNIQUE);
CREATE TABLE state_keys (key_num {id}, name {bytes} NOT NULL UNIQUE);

-- Local users. kind: 0 user, 1 guest. A deactivated account keeps its row, so that its name is never given again.
CREATE TABLE accounts (
    user_num {key},
    kind BIGINT NOT NULL,
    is_admin BIGINT NOT NULL,
    password_hash TEXT,
    created_at BIGINT NOT NULL,
    deactivated_at BIGINT
);

CREATE TABLE devices (
    device_num {id},
    user_num BIGINT NOT NULL,
    device_id {bytes} NOT NULL,
    display_name {bytes},
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT,
    last_seen_ip TEXT,
    UNIQUE (user_num, device_id)
);

-- Access tokens are kept as SHA-256 hashes only.
CREATE TABLE access_tokens (
    hash {bytes} PRIMARY KEY,
    user_num BIGINT NOT NULL,
    device_num BIGINT NOT NULL,
    created_at BIGINT NOT NULL
) {keyed};
CREATE INDEX access_tokens_by_device ON access_tokens (device_num);
CREATE INDEX access_tokens_by_user ON access_tokens (user_num);

-- Sessions that ended: other nodes end their long polls.
CREATE TABLE session_revocations (position {key}, user_num BIGINT NOT NULL, device_num BIGINT NOT NULL);

CREATE TABLE profiles (
    user_num BIGINT NOT NULL,
    field {bytes} NOT NULL,
    value {bytes} NOT NULL,
    position BIGINT NOT NULL UNIQUE,
    PRIMARY KEY (user_num, field)
);

-- room_num 0: of the whole account.
CREATE TABLE account_data (
    user_num BIGINT NOT NULL,
    room_num BIGINT NOT NULL,
    type {bytes} NOT NULL,
    content {bytes} NOT NULL,
    position BIGINT NOT NULL UNIQUE,
    PRIMARY KEY (user_num, room_num, type)
);
CREATE INDEX account_data_by_position ON account_data (user_num, position);

-- A definition stored twice keeps its number: filter_num counts per user.
CREATE TABLE filters (
    user_num BIGINT NOT NULL,
    filter_num BIGINT NOT NULL,
    hash {bytes} NOT NULL,
    definition {bytes} NOT NULL,
    PRIMARY KEY (user_num, filter_num),
    UNIQUE (user_num, hash)
);

-- append_count and head_hash (from the id of the last event) name the state that an event was built on: an append checks
-- both and changes both. extremities: the integers of the forward extremities. is_public: listed in the directory.
CREATE TABLE rooms (
    room_num {id},
    room_id TEXT NOT NULL UNIQUE,
    room_version TEXT NOT NULL,
    append_count BIGINT NOT NULL,
    head_hash BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    snapshot_num BIGINT NOT NULL,
    extremities {bytes} NOT NULL,
    is_public BIGINT NOT NULL
);

CREATE TABLE aliases (
    alias TEXT PRIMARY KEY,
    room_num BIGINT NOT NULL,
    creator BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX aliases_by_room ON aliases (room_num);

-- event_num comes from the same sequence as positions. place_major, place_minor: the event's place in the room's one
-- order for paging; NULL while it is in no timeline. A live event's place_major is its position and its minor is 0.
-- snapshot_num: the state after the event. status: 0 accepted, 1 rejected, 2 soft-failed.
-- prev, auth: integers of the events named by prev_events and auth_events. replaces: the state event that this one
-- replaced. txn_device, txn_id: which device sent it, and with which transaction id; NULL unless by this server's API.
-- visibility_*: the room's history visibility before and after it. redacted_by: the redaction that pruned it.
CREATE TABLE events (
    event_num {key},
    room_num BIGINT NOT NULL,
    event_id TEXT NOT NULL UNIQUE,
    type_num BIGINT NOT NULL,
    key_num BIGINT,
    sender_num BIGINT NOT NULL,
    place_major BIGINT,
    place_minor BIGINT NOT NULL,
    status BIGINT NOT NULL,
    snapshot_num BIGINT,
    replaces BIGINT,
    redacted_by BIGINT,
    txn_device BIGINT,
    txn_id {bytes},
    visibility_before BIGINT NOT NULL,
    visibility_after BIGINT NOT NULL,
    prev {bytes} NOT NULL,
    auth {bytes} NOT NULL,
    json {bytes} NOT NULL
);
CREATE UNIQUE INDEX events_by_place ON events (room_num, place_major, place_minor) WHERE place_major IS NOT NULL;

-- A state is a delta on its parent (type, key, event, tag: see state_map.rs) or, at least every hundredth, whole: the
-- numbers of its pieces, which whole states share.
CREATE TABLE snapshots (
    snapshot_num {id},
    room_num BIGINT NOT NULL,
    parent BIGINT,
    hops BIGINT NOT NULL,
    data {bytes} NOT NULL
);
CREATE TABLE snapshot_pieces (piece_num {id}, room_num BIGINT NOT NULL, data {bytes} NOT NULL);

-- One row for each change of a room's current state, whatever caused it.
CREATE TABLE state_deltas (
    position {key},
    room_num BIGINT NOT NULL,
    type_num BIGINT NOT NULL,
    key_num BIGINT NOT NULL,
    old_event BIGINT,
    new_event BIGINT
);
CREATE INDEX state_deltas_by_room ON state_deltas (room_num, position);

-- A local user's membership now, and one row for each change of it. membership: see membership.rs.
CREATE TABLE memberships (
    user_num BIGINT NOT NULL,
    room_num BIGINT NOT NULL,
    membership BIGINT NOT NULL,
    event_num BIGINT NOT NULL,
    position BIGINT NOT NULL,
    forgotten BIGINT NOT NULL,
    PRIMARY KEY (user_num, room_num)
) {keyed};
CREATE TABLE membership_changes (
    position {key},
    user_num BIGINT NOT NULL,
    room_num BIGINT NOT NULL,
    membership BIGINT NOT NULL,
    event_num BIGINT NOT NULL
);
CREATE INDEX membership_changes_by_user ON membership_changes (user_num, position);
CREATE INDEX membership_changes_by_room ON membership_changes (user_num, room_num, position);

-- What a client's transaction id led to. path: which request it belongs to (a hash). Swept by walking the key: an index
-- by age would cost every message more than the walk costs.
CREATE TABLE transactions (
    device_num BIGINT NOT NULL,
    path BIGINT NOT NULL,
    txn_id {bytes} NOT NULL,
    event_num BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (device_num, path, txn_id)
) {keyed};

-- The numbers that the code knows by name, in the order of names.rs.
INSERT INTO state_keys (name) VALUES (CAST('' AS {bytes}));
INSERT INTO event_types (name) VALUES
    (CAST('m.room.create' AS {bytes})),
    (CAST('m.room.member' AS {bytes})),
    (CAST('m.room.power_levels' AS {bytes})),
    (CAST('m.room.join_rules' AS {bytes})),
    (CAST('m.room.history_visibility' AS {bytes})),
    (CAST('m.room.redaction' AS {bytes})),
    (CAST('m.room.message' AS {bytes})),
    (CAST('m.room.encrypted' AS {bytes})),
    (CAST('m.room.name' AS {bytes})),
    (CAST('m.room.topic' AS {bytes})),
    (CAST('m.room.avatar' AS {bytes})),
    (CAST('m.room.canonical_alias' AS {bytes})),
    (CAST('m.room.guest_access' AS {bytes})),
    (CAST('m.room.encryption' AS {bytes})),
    (CAST('m.room.tombstone' AS {bytes})),
    (CAST('m.room.third_party_invite' AS {bytes})),
    (CAST('m.reaction' AS {bytes}));
