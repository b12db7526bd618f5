-- The words by which users of other servers are found who are in a room: of their ids, and of the names that their member
-- events there show. event_num: that event. A row goes when they leave.
CREATE TABLE member_words (
    word {bytes} NOT NULL,
    key_num BIGINT NOT NULL,
    room_num BIGINT NOT NULL,
    event_num BIGINT NOT NULL,
    PRIMARY KEY (word, key_num, room_num)
) {keyed};
CREATE INDEX member_words_by_room ON member_words (room_num, key_num);
-- A job writes those of the rooms that are there.
INSERT INTO jobs (kind, subject, noted_at, due_at, progress)
    SELECT 'member_words', room_num, 0, 0, 0 FROM rooms WHERE is_shared = 1;
