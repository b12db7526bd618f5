-- Accounts that administrators stopped or that want to be forgotten. locked_at: nothing works but logging out.
-- suspended_at: may read, not write. erased_at: who joins a room later gets the user's events redacted.
ALTER TABLE accounts ADD COLUMN locked_at BIGINT;
ALTER TABLE accounts ADD COLUMN suspended_at BIGINT;
ALTER TABLE accounts ADD COLUMN erased_at BIGINT;

CREATE INDEX accounts_erased ON accounts (user_num) WHERE erased_at IS NOT NULL;
CREATE INDEX accounts_of_guests ON accounts (user_num) WHERE kind = 1;

-- Deactivated users who are still in rooms: a job takes them out of all, then deletes the row.
CREATE TABLE departures (user_num {key}, created_at BIGINT NOT NULL);

-- Rooms in which guests may be who aren't allowed to any longer: a job takes them out, then deletes the row.
CREATE TABLE guest_departures (room_num {key}, created_at BIGINT NOT NULL);

-- expires_at: NULL is never. replaces: the hash of the refresh token that this token was got for; both that one and the
-- access token of its time end when this one is first used, and then it is NULL.
ALTER TABLE access_tokens ADD COLUMN expires_at BIGINT;
ALTER TABLE access_tokens ADD COLUMN replaces {bytes};

-- Kept as SHA-256 hashes only. access_hash: the access token that was given out with it.
CREATE TABLE refresh_tokens (
    hash {bytes} PRIMARY KEY,
    user_num BIGINT NOT NULL,
    device_num BIGINT NOT NULL,
    access_hash {bytes} NOT NULL,
    created_at BIGINT NOT NULL
) {keyed};
CREATE INDEX refresh_tokens_by_device ON refresh_tokens (device_num);
CREATE INDEX refresh_tokens_by_user ON refresh_tokens (user_num);

-- Tokens for one login (m.login.token), and those that prove to others who somebody is (OpenID). SHA-256 hashes only.
-- They are swept some time after they expired.
CREATE TABLE login_tokens (hash {bytes} PRIMARY KEY, user_num BIGINT NOT NULL, expires_at BIGINT NOT NULL) {keyed};
CREATE INDEX login_tokens_by_age ON login_tokens (expires_at);
CREATE INDEX login_tokens_by_user ON login_tokens (user_num);
CREATE TABLE openid_tokens (hash {bytes} PRIMARY KEY, user_num BIGINT NOT NULL, expires_at BIGINT NOT NULL) {keyed};
CREATE INDEX openid_tokens_by_age ON openid_tokens (expires_at);

-- Who holds one may register. uses_allowed, expires_at: NULL is without limit.
CREATE TABLE registration_tokens (
    token TEXT PRIMARY KEY,
    uses_allowed BIGINT,
    uses BIGINT NOT NULL,
    expires_at BIGINT,
    created_at BIGINT NOT NULL
);

-- Interactive authentications of which a stage is done, by a way that is not the request itself (the page for browsers).
-- stages: the names of those done, separated by spaces. token: the registration token that was shown. Swept by age.
CREATE TABLE interactive_sessions (
    session_id TEXT PRIMARY KEY,
    stages TEXT NOT NULL,
    token TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX interactive_sessions_by_age ON interactive_sessions (created_at);

-- What the ids of interactive authentications are authenticated by; made at the first start.
ALTER TABLE server ADD COLUMN session_secret {bytes};
