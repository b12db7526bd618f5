-- Invites to rooms of other servers, and knocks at them, while this server is not in the room and knows no state of it.
-- event_num: the member event. server: who gave it, and can be asked for more. state: events of the room as clients are
-- shown them (stripped), JSON objects separated by commas. A row goes when the user declines or gives up, or comes in.
CREATE TABLE remote_invites (
    user_num BIGINT NOT NULL,
    room_num BIGINT NOT NULL,
    event_num BIGINT NOT NULL,
    server TEXT NOT NULL,
    state {bytes} NOT NULL,
    PRIMARY KEY (user_num, room_num)
);

-- Which rooms users of this server are in: those that it need not ask others for.
CREATE INDEX memberships_joined ON memberships (room_num) WHERE membership = 2;
