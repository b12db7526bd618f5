//! `GET /versions`: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions>

use bytes::Bytes;
use starling_http::{Auth, JsonBytes, Routes};

use crate::State;

/// What clients look for who know no version of the specification that has it, or another name for it, stands among the
/// unstable features: those of which this server has the behaviour under the name that the client then uses.
const VERSIONS: &[u8] = br#"{"versions":["v1.1","v1.2","v1.3","v1.4","v1.5","v1.6","v1.7","v1.8","v1.9","v1.10","v1.11","v1.12","v1.13","v1.14","v1.15","v1.16","v1.17","v1.18","v1.19"],"unstable_features":{"m.lazy_load_members":true,"org.matrix.msc2285.stable":true,"org.matrix.msc3391":true,"org.matrix.msc3440.stable":true,"org.matrix.msc3715.stable":true,"org.matrix.msc3827.stable":true,"org.matrix.msc3856.stable":true,"uk.half-shot.msc2666.query_mutual_rooms":true,"uk.half-shot.msc2666.query_mutual_rooms.stable":true,"uk.tcpip.msc4133.stable":true}}"#;

pub(super) fn routes() -> Routes<State> {
    // The answer is the same for everybody, so a token that has ended doesn't matter.
    Routes::new().get("/_matrix/client/versions", Auth::None, versions)
}

async fn versions() -> JsonBytes {
    JsonBytes(Bytes::from_static(VERSIONS))
}
