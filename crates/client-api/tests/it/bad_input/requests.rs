//! Requests that are wrong whatever they are about: paths, methods, tokens.

use super::{Case, table};

pub(super) fn cases() -> Vec<Case> {
    [table(PATHS), table(TOKENS)].concat()
}

/// <https://spec.matrix.org/v1.19/client-server-api/#common-error-codes>: `M_UNRECOGNIZED`.
const PATHS: &str = "
    nobody GET   /                                          - 404 M_UNRECOGNIZED
    nobody GET   /nothing                                   - 404 M_UNRECOGNIZED
    nobody GET   /_matrix                                   - 404 M_UNRECOGNIZED
    nobody GET   /_matrix/client/v9/sync                    - 404 M_UNRECOGNIZED
    nobody GET   /_matrix/client/v3                         - 404 M_UNRECOGNIZED
    nobody GET   /_matrix/client/v3/                        - 404 M_UNRECOGNIZED
    nobody GET   /_matrix/client/v3/nothing                 - 404 M_UNRECOGNIZED
    nobody GET   /_matrix/client//versions                  - 404 M_UNRECOGNIZED
    nobody GET   /_MATRIX/client/versions                   - 404 M_UNRECOGNIZED
    nobody GET   /_matrix/client/versions/                  - 404 M_UNRECOGNIZED
    nobody GET   /_matrix/client/../client/versions         - 404 M_UNRECOGNIZED
    nobody GET   /_synapse/admin/v2/users                   - 404 M_UNRECOGNIZED
    alice  GET   sync/                                      - 404 M_UNRECOGNIZED
    alice  GET   syn%63/x                                   - 404 M_UNRECOGNIZED
    alice  GET   rooms                                      - 404 M_UNRECOGNIZED
    alice  GET   rooms/{room}/nothing                       - 404 M_UNRECOGNIZED
    alice  PUT   rooms/{room}/send/m.room.message           - 404 M_UNRECOGNIZED
    alice  PUT   rooms/{room}/send/m.room.message/1/2       - 404 M_UNRECOGNIZED
    alice  PUT   rooms/{room}/send/a/b/c                    {} 404 M_UNRECOGNIZED
    nobody POST  /_matrix/client/versions                   - 405 M_UNRECOGNIZED
    nobody PATCH /_matrix/client/versions                   - 405 M_UNRECOGNIZED
    nobody SNEEZE /_matrix/client/versions                  - 405 M_UNRECOGNIZED
    nobody DELETE login                                     - 405 M_UNRECOGNIZED
    nobody GET   register                                   - 405 M_UNRECOGNIZED
    alice  GET   createRoom                                 - 405 M_UNRECOGNIZED
    alice  PUT   createRoom                                 {} 405 M_UNRECOGNIZED
    alice  GET   logout                                     - 405 M_UNRECOGNIZED
    alice  POST  sync                                       {} 405 M_UNRECOGNIZED
    alice  PATCH profile/{alice}/displayname                {\"displayname\":\"A\"} 405 M_UNRECOGNIZED
    alice  POST  devices                                    {} 405 M_UNRECOGNIZED
    alice  POST  account/3pid                               {} 405 M_UNRECOGNIZED
    alice  POST  rooms/{room}/send/m.room.message/1         {} 405 M_UNRECOGNIZED
    alice  POST  rooms/{room}/state/a/b                     {} 405 M_UNRECOGNIZED
    alice  DELETE rooms/{room}/state                        - 405 M_UNRECOGNIZED
";

/// <https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens>
const TOKENS: &str = "
    nobody  GET  sync                                       - 401 M_MISSING_TOKEN
    forger  GET  sync                                       - 401 M_UNKNOWN_TOKEN
    gone    GET  sync                                       - 401 M_UNKNOWN_TOKEN
    babbler GET  sync                                       - 401 M_UNKNOWN_TOKEN
    nobody  GET  account/whoami                             - 401 M_MISSING_TOKEN
    forger  GET  account/whoami                             - 401 M_UNKNOWN_TOKEN
    nobody  GET  account/whoami?access_token=               - 401 M_MISSING_TOKEN
    nobody  GET  joined_rooms                               - 401 M_MISSING_TOKEN
    forger  GET  joined_rooms                               - 401 M_UNKNOWN_TOKEN
    nobody  POST logout                                     - 401 M_MISSING_TOKEN
    gone    POST logout                                     - 401 M_UNKNOWN_TOKEN
    gone    POST logout/all                                 - 401 M_UNKNOWN_TOKEN
    nobody  POST createRoom                                 {} 401 M_MISSING_TOKEN
    forger  POST createRoom                                 {} 401 M_UNKNOWN_TOKEN
    nobody  POST createRoom                                 { 401 M_MISSING_TOKEN
    nobody  POST join/{room}                                {} 401 M_MISSING_TOKEN
    gone    POST join/{room}                                {} 401 M_UNKNOWN_TOKEN
    nobody  PUT  rooms/{room}/send/m.room.message/1         {} 401 M_MISSING_TOKEN
    forger  PUT  rooms/{room}/send/m.room.message/1         {} 401 M_UNKNOWN_TOKEN
    gone    PUT  rooms/{room}/state/a/                      {} 401 M_UNKNOWN_TOKEN
    nobody  GET  rooms/{room}/state                         - 401 M_MISSING_TOKEN
    nobody  GET  rooms/{room}/messages?dir=b                - 401 M_MISSING_TOKEN
    nobody  PUT  directory/room/%23a%3Alocalhost            {} 401 M_MISSING_TOKEN
    nobody  POST account/password                           {\"new_password\":\"x\"} 401 M_MISSING_TOKEN
    nobody  POST refresh                                    {\"refresh_token\":\"forged\"} 401 M_UNKNOWN_TOKEN
    nobody  GET  /_matrix/federation/v1/openid/userinfo     - 401 M_MISSING_TOKEN
    nobody  GET  /_matrix/federation/v1/openid/userinfo?access_token=forged - 401 M_UNKNOWN_TOKEN
    guest   POST createRoom                                 {} 403 M_GUEST_ACCESS_FORBIDDEN
    guest   GET  joined_rooms                               - 403 M_GUEST_ACCESS_FORBIDDEN
    guest   POST account/password                           {\"new_password\":\"x\"} 403 M_GUEST_ACCESS_FORBIDDEN
    guest   POST rooms/{room}/invite                        {\"user_id\":\"{bob}\"} 403 M_GUEST_ACCESS_FORBIDDEN
    guest   PUT  profile/{alice}/displayname                {\"displayname\":\"Alice\"} 403 M_FORBIDDEN
";
