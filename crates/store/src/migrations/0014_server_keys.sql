-- Keys of other servers, with the document in which each was published last. They stay for ever: old events were signed with
-- them, and the server may be gone. A server has at most 64 keys in a document.
CREATE TABLE server_keys (
    server_name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    public_key {bytes} NOT NULL,
    -- Milliseconds since 1970: of a key in use, until when it is believed; of an old one, when the server stopped using it.
    until_ms BIGINT NOT NULL,
    is_old BIGINT NOT NULL,
    fetched_ms BIGINT NOT NULL,
    document {bytes} NOT NULL,
    PRIMARY KEY (server_name, key_id)
) {keyed};
