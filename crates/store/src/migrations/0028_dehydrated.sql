-- Of the one device of a user that nobody is logged in with: what a client needs to bring it back, a JSON object. NULL: it is
-- another.
ALTER TABLE devices ADD COLUMN dehydrated {bytes};
