-- Users whose devices one server is told of, though they were not changed: it shares a room with them again, and may remember
-- what was before. position: as in destination_events, which names the server. A row goes with that one.
CREATE TABLE device_lists_resent (position {key}, user_num BIGINT NOT NULL);
