-- Which other servers are, or were, in which rooms. until_position: 9223372036854775807 while the server is in the room, else
-- where the event stands that removed its last member, which is still sent to it. members: how many have joined.
CREATE TABLE room_servers (
    room_num BIGINT NOT NULL,
    server TEXT NOT NULL,
    until_position BIGINT NOT NULL,
    from_position BIGINT NOT NULL,
    members BIGINT NOT NULL,
    PRIMARY KEY (room_num, server, until_position)
) {keyed};
CREATE INDEX room_servers_by_server ON room_servers (server, until_position, room_num);

-- Whether another server is in the room, or ever was: if not, nothing of it is sent out.
ALTER TABLE rooms ADD COLUMN is_shared BIGINT NOT NULL DEFAULT 0;

-- Live events that this server sends to the others in the room: those of its own users, and those that it sends for another
-- server (except_server), which has them. They go when every server has them.
CREATE TABLE outgoing (position {key}, room_num BIGINT NOT NULL, except_server TEXT);
CREATE INDEX outgoing_by_room ON outgoing (room_num, position);

-- Live events that one server is sent, whether it is in the room or not. A row goes when the server has the event.
CREATE TABLE destination_events (
    server TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (server, position)
) {keyed};
CREATE INDEX destination_events_by_position ON destination_events (position, server);

-- Up to where servers have what they are sent. Only those that lag behind have a row; that of all others has no name.
CREATE TABLE destinations (server TEXT PRIMARY KEY, sent_upto BIGINT NOT NULL) {keyed};
