-- What waits is found by its event, and counted by room and by user.
CREATE INDEX waiting_receipts_by_event ON waiting_receipts (room_num, event_id);
CREATE INDEX waiting_receipts_of_room ON waiting_receipts (room_num, sent_at);
CREATE INDEX waiting_receipts_of_user ON waiting_receipts (user_num, sent_at);
