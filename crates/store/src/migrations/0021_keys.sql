-- The identity keys of local users' devices, as they were uploaded: canonical JSON.
CREATE TABLE device_keys (device_num {key}, keys {bytes} NOT NULL);

-- Keys that are given out once, in the order of their numbers. digest: a hash of the key without its signatures.
CREATE TABLE one_time_keys (
    key_num {id},
    device_num BIGINT NOT NULL,
    algorithm {bytes} NOT NULL,
    key_id {bytes} NOT NULL,
    digest BIGINT NOT NULL,
    json {bytes} NOT NULL,
    UNIQUE (device_num, algorithm, key_id)
);
CREATE INDEX one_time_keys_in_order ON one_time_keys (device_num, algorithm, key_num);

-- The last of those that were given out, so that none is given out again whose upload is repeated.
CREATE TABLE claimed_keys (
    key_num {key},
    device_num BIGINT NOT NULL,
    algorithm {bytes} NOT NULL,
    key_id {bytes} NOT NULL,
    digest BIGINT NOT NULL
);
CREATE INDEX claimed_keys_by_device ON claimed_keys (device_num, key_num);

-- What is given out when there is no such key: one for each algorithm. is_used: it was given out.
CREATE TABLE fallback_keys (
    device_num BIGINT NOT NULL,
    algorithm {bytes} NOT NULL,
    key_id {bytes} NOT NULL,
    json {bytes} NOT NULL,
    is_used BIGINT NOT NULL,
    PRIMARY KEY (device_num, algorithm)
) {keyed};

-- When each device of a user was changed last, as others are told of it; those that are gone too. device_id: empty for the
-- user's cross-signing keys, and for all devices of a user of another server. prev: the change before of any of the user's
-- devices; NULL for the first.
CREATE TABLE device_changes (
    position {key},
    user_num BIGINT NOT NULL,
    device_id {bytes} NOT NULL,
    prev BIGINT,
    UNIQUE (user_num, device_id)
);

-- In which rooms users were when one of their devices was changed last. position: of that change.
CREATE TABLE device_list_rooms (
    room_num BIGINT NOT NULL,
    user_num BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (room_num, user_num)
) {keyed};
CREATE INDEX device_list_rooms_by_position ON device_list_rooms (room_num, position);

-- Users' cross-signing keys, as they were uploaded. usage: 1 master, 2 self-signing, 3 user-signing.
CREATE TABLE cross_signing_keys (
    user_num BIGINT NOT NULL,
    usage BIGINT NOT NULL,
    json {bytes} NOT NULL,
    PRIMARY KEY (user_num, usage)
) {keyed};

-- Signatures of keys that were uploaded later. user_num, key_id: what is signed, a device by its id or a master key by its
-- public part. signing_key: with its algorithm.
CREATE TABLE key_signatures (
    user_num BIGINT NOT NULL,
    key_id {bytes} NOT NULL,
    signer_num BIGINT NOT NULL,
    signing_key {bytes} NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (user_num, signer_num, key_id, signing_key)
) {keyed};

-- When a user signed, or no longer signs, another user's key: nobody else sees that.
CREATE TABLE signature_changes (
    position {key},
    signer_num BIGINT NOT NULL,
    user_num BIGINT NOT NULL,
    UNIQUE (signer_num, user_num)
);
