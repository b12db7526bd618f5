-- The keys that this server no longer signs with, and when it stopped, in milliseconds since 1970. They stay for ever: others
-- check with them what this server signed then.
CREATE TABLE own_keys (key_id TEXT PRIMARY KEY, public_key {bytes} NOT NULL, expired_ms BIGINT NOT NULL) {keyed};
