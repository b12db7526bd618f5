//! Transaction ids of clients: a retry gets the same answer, also while the first try is still being stored.
//! <https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers>

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ruma_common::{EventId, OwnedEventId, RoomId};
use starling_db::Error;
use starling_store::rooms::stable_hash;
use starling_store::transactions::{Transaction, transaction_read};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::error::SendError;
use crate::rooms::{Actor, Rooms};

/// Which request a transaction id belongs to: the same id sent elsewhere is another transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPath(i64);

impl RequestPath {
    /// `PUT /rooms/{roomId}/send/{eventType}/…`
    #[must_use]
    pub fn send(room: &RoomId, kind: &str) -> Self {
        Self(stable_hash(format!("send/{room}/{kind}").as_bytes()))
    }

    /// `PUT /rooms/{roomId}/redact/{eventId}/…`
    #[must_use]
    pub fn redact(room: &RoomId, event: &EventId) -> Self {
        Self(stable_hash(format!("redact/{room}/{event}").as_bytes()))
    }
}

/// The transactions that are being worked on: a second request with the same id waits for the first.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    running: Mutex<HashMap<Transaction, Arc<AsyncMutex<()>>>>,
}

/// Holds a transaction; the next request with its id goes on when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    in_flight: Arc<InFlight>,
    transaction: Transaction,
    guard: Option<OwnedMutexGuard<()>>,
}

impl InFlight {
    async fn hold(self: &Arc<Self>, transaction: &Transaction) -> Held {
        // Made before it waits, so that it cleans up also when the request goes away meanwhile.
        let mut held = Held {
            in_flight: Arc::clone(self),
            transaction: transaction.clone(),
            guard: None,
        };
        let lock = Arc::clone(self.running.lock().entry(transaction.clone()).or_default());
        held.guard = Some(lock.lock_owned().await);
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut running = self.in_flight.running.lock();
        drop(self.guard.take());
        // One reference is the map's: nobody else waits.
        if running
            .get(&self.transaction)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            running.remove(&self.transaction);
        }
    }
}

impl Rooms {
    /// Takes a transaction id: either its event is known already, or the caller sends one while it holds it.
    pub(crate) async fn begin_transaction(
        &self,
        actor: &Actor,
        path: RequestPath,
        txn_id: &str,
    ) -> Result<Result<(Held, Transaction), OwnedEventId>, SendError> {
        let transaction = Transaction {
            device: actor.device,
            path: path.0,
            txn_id: txn_id.into(),
        };
        let held = self.in_flight.hold(&transaction).await;
        let known = self.transaction_event(&transaction).await?;
        Ok(match known {
            Some(event) => Err(event),
            None => Ok((held, transaction)),
        })
    }

    /// The event that a transaction id has led to.
    pub(crate) async fn transaction_event(
        &self,
        transaction: &Transaction,
    ) -> Result<Option<OwnedEventId>, Error> {
        let (store, transaction) = (self.store().clone(), transaction.clone());
        let read = move |tx: &mut starling_db::Tx<'_>| match transaction_read(tx, &transaction)? {
            None => Ok(None),
            Some(number) => Ok(store
                .event_read(tx, number)?
                .map(|event| event.pdu.event_id().to_owned())),
        };
        self.store().db().read("transaction", read).await
    }
}
