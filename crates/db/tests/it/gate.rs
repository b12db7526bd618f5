//! Holds the writer inside a body, so that a test knows which writes share a batch.

use std::sync::mpsc;

use starling_db::{Db, Error, Write};

/// A body that waits. The batch of the writes queued meanwhile starts when it is let go.
pub(crate) struct Held {
    open: mpsc::Sender<()>,
    done: tokio::task::JoinHandle<Result<(), Error>>,
}

/// Queues a write whose body waits to be let go, and returns when it has begun.
pub(crate) async fn hold(db: &Db) -> Held {
    let (open, opened) = mpsc::channel();
    let (enter, mut entered) = tokio::sync::mpsc::unbounded_channel();
    let db = db.clone();
    let body = move |_: &mut starling_db::Tx<'_>| {
        enter.send(()).ok();
        // Returns when the other end is dropped.
        opened.recv().ok();
        Ok(())
    };
    let done = tokio::spawn(async move { db.write(Write::new("hold"), body).await });
    entered.recv().await.unwrap();
    Held { open, done }
}

impl Held {
    /// Lets the body go on, and waits for its commit.
    pub(crate) async fn let_go(self) {
        drop(self.open);
        self.done.await.unwrap().unwrap();
    }
}
