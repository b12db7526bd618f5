//! Where this server is found: <https://spec.matrix.org/v1.19/client-server-api/#well-known-uris> and
//! <https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver>

use axum::extract;
use serde::Serialize;
use starling_http::{Auth, Json, MatrixError, Routes};

use crate::State;

pub(super) fn routes() -> Routes<State> {
    server_routes().get("/.well-known/matrix/client", Auth::None, client)
}

pub(super) fn server_routes() -> Routes<State> {
    Routes::new().get("/.well-known/matrix/server", Auth::None, server)
}

/// What a client needs to know to use this server.
#[derive(Serialize)]
pub(super) struct Client {
    #[serde(rename = "m.homeserver")]
    homeserver: Homeserver,
}

#[derive(Serialize)]
struct Homeserver {
    base_url: String,
}

impl Client {
    /// `None` when it isn't configured.
    pub(super) fn configured(state: &State) -> Option<Self> {
        let base_url = state.config.well_known.client_base_url.clone();
        (!base_url.is_empty()).then_some(Self {
            homeserver: Homeserver { base_url },
        })
    }
}

async fn client(extract::State(state): extract::State<State>) -> Result<Json<Client>, MatrixError> {
    Client::configured(&state).map(Json).ok_or_else(not_set)
}

#[derive(Serialize)]
struct Server {
    #[serde(rename = "m.server")]
    server: String,
}

async fn server(extract::State(state): extract::State<State>) -> Result<Json<Server>, MatrixError> {
    let server = state.config.well_known.server.clone();
    if server.is_empty() {
        Err(not_set())
    } else {
        Ok(Json(Server { server }))
    }
}

fn not_set() -> MatrixError {
    MatrixError::not_found("This server does not say where it is found")
}
