-- Lists of devices of users of other servers that are followed. stream_id: the last update that the list includes; NULL until it
-- was fetched. is_stale: it may not be what the server says, and is to be fetched. version: raised with each doubt. retry_at: not
-- fetched before, in milliseconds since 1970. master_key, self_signing_key: JSON.
CREATE TABLE remote_device_lists (
    user_num {key},
    server TEXT NOT NULL,
    stream_id BIGINT,
    is_stale BIGINT NOT NULL,
    version BIGINT NOT NULL,
    retry_at BIGINT NOT NULL,
    master_key {bytes},
    self_signing_key {bytes}
);
CREATE INDEX remote_device_lists_stale ON remote_device_lists (server, user_num) WHERE is_stale = 1;
CREATE INDEX remote_device_lists_by_server ON remote_device_lists (server, user_num);

-- Their devices that have keys. keys: JSON, without what is not signed.
CREATE TABLE remote_devices (
    user_num BIGINT NOT NULL,
    device_id {bytes} NOT NULL,
    keys {bytes} NOT NULL,
    display_name {bytes},
    PRIMARY KEY (user_num, device_id)
) {keyed};
