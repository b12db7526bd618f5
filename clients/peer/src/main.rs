//! One user of matrix-sdk. A test drives it by lines of JSON on standard input, one answer line each on standard output:
//!
//! ```text
//! {"id": 1, "do": "send", "with": {…}}   ->   {"id": 1, "ok": …}   or   {"id": 1, "error": {"errcode": …, "message": …}}
//! ```
//!
//! What `/sync` brings is told by lines of their own: `{"event": "timeline", …}`, `{"event": "sync", …}`.
//! Usage: `starling-peer BASE_URL`

mod commands;
mod failure;
mod peer;
mod say;
mod verification;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

use crate::commands::Command;
use crate::failure::Failure;
use crate::peer::Peer;
use crate::say::say;

/// What a test asks.
#[derive(Deserialize)]
struct Asked {
    id: u64,
    #[serde(flatten)]
    command: Command,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let url = std::env::args()
        .nth(1)
        .ok_or_else(|| Failure::new("usage: starling-peer BASE_URL"))?;
    let peer = Arc::new(Peer::new(&url).await?);
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let Asked { id, command } = serde_json::from_str(&line)?;
        let peer = Arc::clone(&peer);
        tokio::spawn(async move {
            let answer: Result<Value, Failure> = Box::pin(command.run(peer)).await;
            say(&match answer {
                Ok(ok) => json!({"id": id, "ok": ok}),
                Err(failure) => json!({"id": id, "error": failure}),
            });
        });
    }
    Ok(())
}
