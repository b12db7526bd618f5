-- Rooms in which histories meet. generation: of a state event, one more than the greatest of its auth events; NULL: it is no
-- state, or was stored before there was this column (see auth_graph.rs). after_gap: 1 where events that it follows were not
-- here when it came.
ALTER TABLE events ADD COLUMN generation BIGINT;
ALTER TABLE events ADD COLUMN after_gap BIGINT NOT NULL DEFAULT 0;
CREATE INDEX events_without_generation ON events (event_num) WHERE key_num IS NOT NULL AND generation IS NULL;

-- Which state events name an event among their auth events.
CREATE TABLE auth_edges (
    auth_num BIGINT NOT NULL,
    event_num BIGINT NOT NULL,
    PRIMARY KEY (auth_num, event_num)
) {keyed};

-- Events that are not here, each before the place of one that follows it.
CREATE TABLE gaps (
    room_num BIGINT NOT NULL,
    place_major BIGINT NOT NULL,
    place_minor BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (room_num, place_major, place_minor, event_id)
) {keyed};

-- Redactions whose target is not here yet. has_power: 1 if the redaction's sender may redact anybody's events.
CREATE TABLE waiting_redactions (
    target TEXT NOT NULL,
    room_num BIGINT NOT NULL,
    event_num BIGINT NOT NULL,
    has_power BIGINT NOT NULL,
    PRIMARY KEY (target, event_num)
) {keyed};

-- Events of other servers that were taken in and wait for their turn, in the order in which they came. tries: how often that
-- was in vain: others go first.
CREATE TABLE inbox (
    inbox_num {id},
    room_num BIGINT NOT NULL,
    origin TEXT NOT NULL,
    event_id TEXT NOT NULL,
    json {bytes} NOT NULL,
    tries BIGINT NOT NULL DEFAULT 0,
    UNIQUE (room_num, event_id, origin)
);
CREATE INDEX inbox_by_turn ON inbox (room_num, tries, inbox_num);

-- Where the member event stands in the room's order, once it has a place that isn't that of a live event. NULL: (event_num, 0).
ALTER TABLE membership_changes ADD COLUMN place_major BIGINT;
ALTER TABLE membership_changes ADD COLUMN place_minor BIGINT NOT NULL DEFAULT 0;
