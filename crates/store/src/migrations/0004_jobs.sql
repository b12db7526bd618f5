-- What must happen after a change and is done by a runner afterwards, piece by piece: see jobs.rs. Deleted when it is done.
-- subject: a user or a room, by kind. noted_at parts a note from other notes of the same job. due_at: not before that.
-- progress: how far it is; what it counts is the job's own affair.
CREATE TABLE jobs (
    kind TEXT NOT NULL,
    subject BIGINT NOT NULL,
    noted_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    progress BIGINT NOT NULL,
    PRIMARY KEY (kind, subject)
) {keyed};
CREATE INDEX jobs_by_due ON jobs (due_at);

INSERT INTO jobs (kind, subject, noted_at, due_at, progress)
    SELECT 'departure', user_num, created_at, created_at, 0 FROM departures;
INSERT INTO jobs (kind, subject, noted_at, due_at, progress)
    SELECT 'guest_departure', room_num, created_at, created_at, 0 FROM guest_departures;
DROP TABLE departures;
DROP TABLE guest_departures;
