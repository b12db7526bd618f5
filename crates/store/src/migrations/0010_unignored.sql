-- Whom a change of a user's list of ignored users took off it: a JSON list of user ids. NULL: this and earlier changes took
-- off some, and nobody remembers whom.
CREATE TABLE unignored (
    user_num BIGINT NOT NULL,
    position BIGINT NOT NULL,
    users {bytes},
    PRIMARY KEY (user_num, position)
) {keyed};
