-- What users say of themselves beside their presence, which is kept in memory only. A row stays until the text is removed.
CREATE TABLE presence_status (user_num BIGINT PRIMARY KEY, status {bytes} NOT NULL);
