//! `GET /_matrix/federation/v1/version`
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version>

use serde::Serialize;
use starling_http::{Auth, Json, Routes};

use crate::State;

pub(crate) fn routes() -> Routes<State> {
    Routes::new().get("/_matrix/federation/v1/version", Auth::None, version)
}

#[derive(Serialize)]
struct Answer {
    server: Server,
}

#[derive(Serialize)]
struct Server {
    name: &'static str,
    version: &'static str,
}

async fn version() -> Json<Answer> {
    Json(Answer {
        server: Server {
            name: "Starling",
            version: env!("CARGO_PKG_VERSION"),
        },
    })
}
