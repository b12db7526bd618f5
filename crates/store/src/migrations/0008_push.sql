-- What users have made of their push rules; who has changed nothing has no row. rules: see Ruleset::to_stored. is_special:
-- some of them look at more than the shape of an event.
CREATE TABLE push_rules (
    user_num {key},
    rules {bytes} NOT NULL,
    is_special BIGINT NOT NULL,
    position BIGINT NOT NULL UNIQUE
);
CREATE INDEX push_rules_special ON push_rules (user_num) WHERE is_special = 1;

-- Where users want to be told of events besides sync. They go with the session of the device that set them.
CREATE TABLE pushers (
    user_num BIGINT NOT NULL,
    app_id {bytes} NOT NULL,
    pushkey {bytes} NOT NULL,
    device_num BIGINT NOT NULL,
    kind TEXT NOT NULL,
    app_display_name {bytes} NOT NULL,
    device_display_name {bytes} NOT NULL,
    profile_tag {bytes},
    lang {bytes} NOT NULL,
    data {bytes} NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_num, app_id, pushkey)
);
CREATE INDEX pushers_by_key ON pushers (app_id, pushkey);
CREATE INDEX pushers_by_device ON pushers (device_num);
