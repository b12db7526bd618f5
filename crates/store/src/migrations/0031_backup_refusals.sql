-- Of a device with backup_in_doubt: the upload that was refused last (a hash of its keys; NULL before), and how often.
ALTER TABLE devices ADD COLUMN backup_refused BIGINT;
ALTER TABLE devices ADD COLUMN backup_refusals BIGINT NOT NULL DEFAULT 0;
