-- Messages to devices of this server: each waits until its device says that it has it, or is deleted. event: as clients are
-- told it. size: its bytes; in the index, so that queues are measured without reading them.
CREATE TABLE to_device (
    position {key},
    device_num BIGINT NOT NULL,
    size BIGINT NOT NULL,
    event {bytes} NOT NULL
);
CREATE INDEX to_device_by_device ON to_device (device_num, position, size);

-- Messages to devices of other servers: each is the content of one EDU and waits until the server has it, or too long.
CREATE TABLE to_device_outgoing (
    position {key},
    server TEXT NOT NULL,
    size BIGINT NOT NULL,
    noted_at BIGINT NOT NULL,
    content {bytes} NOT NULL
);
CREATE INDEX to_device_outgoing_by_server ON to_device_outgoing (server, position, size);

-- Which messages of other servers came, so that none comes twice. piece: of a large one, several are written one after the
-- other. Swept by age.
CREATE TABLE to_device_received (
    origin TEXT NOT NULL,
    message_id {bytes} NOT NULL,
    piece BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (origin, message_id, piece)
) {keyed};
CREATE INDEX to_device_received_by_age ON to_device_received (received_at);

-- Backups of room keys, which clients encrypt. version: from 1 on, for each user; none is given out twice, so a deleted one
-- keeps its row. etag: raised whenever the keys in it change. key_count: how many there are; of a deleted one, 0 once all are gone.
CREATE TABLE key_backups (
    user_num BIGINT NOT NULL,
    version BIGINT NOT NULL,
    algorithm {bytes} NOT NULL,
    auth_data {bytes} NOT NULL,
    etag BIGINT NOT NULL,
    key_count BIGINT NOT NULL,
    is_deleted BIGINT NOT NULL,
    PRIMARY KEY (user_num, version)
) {keyed};
CREATE INDEX key_backups_to_empty ON key_backups (user_num, version) WHERE is_deleted = 1 AND key_count > 0;

CREATE TABLE backed_up_keys (
    user_num BIGINT NOT NULL,
    version BIGINT NOT NULL,
    room_id {bytes} NOT NULL,
    session_id {bytes} NOT NULL,
    is_verified BIGINT NOT NULL,
    first_message_index BIGINT NOT NULL,
    forwarded_count BIGINT NOT NULL,
    session_data {bytes} NOT NULL,
    PRIMARY KEY (user_num, version, room_id, session_id)
) {keyed};
