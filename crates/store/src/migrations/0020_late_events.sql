-- Whether an event that comes late is followed by others already is asked of each that other servers send.
CREATE INDEX gaps_by_event ON gaps (event_id);
