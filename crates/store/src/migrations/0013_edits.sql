-- When the event says that it was sent: of edits the newest counts. NULL: no edit, and stored before there was this column.
ALTER TABLE relations ADD COLUMN sent_at BIGINT;
UPDATE relations SET sent_at = (SELECT events.origin_server_ts FROM events WHERE events.event_num = relations.event_num)
    WHERE rel_type = CAST('m.replace' AS {bytes});
CREATE INDEX relations_edits ON relations (target, room_num, sender_num, type_num, sent_at, event_num)
    WHERE rel_type = CAST('m.replace' AS {bytes});
