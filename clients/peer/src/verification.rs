//! Two devices that compare emoji.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use matrix_sdk::Client;
use matrix_sdk::encryption::verification::{
    SasState, SasVerification, Verification, VerificationRequest, VerificationRequestState,
};
use matrix_sdk::ruma::UserId;
use matrix_sdk::ruma::events::key::verification::request::ToDeviceKeyVerificationRequestEvent;
use matrix_sdk::ruma::events::room::message::{MessageType, OriginalSyncRoomMessageEvent};
use serde_json::json;

use crate::failure::Failure;
use crate::say::say;

/// The verifications that this device takes part in, by their ids, and the emoji that are shown.
#[derive(Default)]
pub(crate) struct Verifications {
    requests: Mutex<BTreeMap<String, VerificationRequest>>,
    shown: Mutex<BTreeMap<String, SasVerification>>,
}

impl Verifications {
    /// Tells of requests that come, and how each goes on.
    pub(crate) fn listen(self: &Arc<Self>, client: &Client) {
        let verifications = Arc::clone(self);
        client.add_event_handler(
            move |event: ToDeviceKeyVerificationRequestEvent, client: Client| {
                let verifications = Arc::clone(&verifications);
                async move {
                    let id = event.content.transaction_id.as_str();
                    verifications.asked(&client, &event.sender, id).await;
                }
            },
        );
        let verifications = Arc::clone(self);
        client.add_event_handler(move |event: OriginalSyncRoomMessageEvent, client: Client| {
            let verifications = Arc::clone(&verifications);
            async move {
                if let MessageType::VerificationRequest(content) = &event.content.msgtype
                    && Some(content.to.as_ref()) == client.user_id()
                {
                    verifications
                        .asked(&client, &event.sender, event.event_id.as_str())
                        .await;
                }
            }
        });
    }

    async fn asked(self: Arc<Self>, client: &Client, user: &UserId, id: &str) {
        if let Some(request) = client.encryption().get_verification_request(user, id).await {
            self.follow(request);
        }
    }

    /// Tells how it goes on. Its id.
    pub(crate) fn follow(self: Arc<Self>, request: VerificationRequest) -> String {
        let id = request.flow_id().to_owned();
        if lock(&self.requests)
            .insert(id.clone(), request.clone())
            .is_none()
        {
            tokio::spawn(async move { self.watch(&request).await });
        }
        id
    }

    async fn watch(self: Arc<Self>, request: &VerificationRequest) {
        let mut changes = request.changes();
        let mut compared = false;
        let mut state = request.state();
        loop {
            tell(request, &state);
            match state {
                VerificationRequestState::Transitioned {
                    verification: Verification::SasV1(sas),
                } if !compared => {
                    compared = true;
                    tokio::spawn(Arc::clone(&self).compare(request.flow_id().to_owned(), sas));
                }
                VerificationRequestState::Done | VerificationRequestState::Cancelled(_) => return,
                _ => {}
            }
            let Some(next) = changes.next().await else {
                return;
            };
            state = next;
        }
    }

    /// Accepts what the other side started, and tells the emoji.
    async fn compare(self: Arc<Self>, id: String, sas: SasVerification) {
        let mut changes = sas.changes();
        if !sas.we_started() && sas.accept().await.is_err() {
            return;
        }
        while let Some(state) = changes.next().await {
            if let SasState::KeysExchanged {
                emojis: Some(emojis),
                ..
            } = state
            {
                let emoji = emojis
                    .emojis
                    .iter()
                    .map(|emoji| emoji.symbol)
                    .collect::<Vec<_>>();
                lock(&self.shown).insert(id.clone(), sas.clone());
                say(&json!({"event": "emoji", "of": id, "emoji": emoji}));
            }
        }
    }

    pub(crate) fn request(&self, id: &str) -> Result<VerificationRequest, Failure> {
        let request = lock(&self.requests).get(id).cloned();
        request.ok_or_else(|| Failure::new(format!("there is no verification {id}")))
    }

    /// The emoji that are shown.
    pub(crate) fn shown(&self, id: &str) -> Result<SasVerification, Failure> {
        let shown = lock(&self.shown).get(id).cloned();
        shown.ok_or_else(|| Failure::new(format!("no emoji are shown in {id}")))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(request: &VerificationRequest, state: &VerificationRequestState) {
    let (phase, code) = match state {
        VerificationRequestState::Created { .. } | VerificationRequestState::Requested { .. } => {
            ("requested", None)
        }
        VerificationRequestState::Ready { .. } => ("ready", None),
        VerificationRequestState::Transitioned { .. } => ("started", None),
        VerificationRequestState::Done => ("done", None),
        VerificationRequestState::Cancelled(info) => {
            ("cancelled", Some(info.cancel_code().to_string()))
        }
    };
    say(&json!({
        "event": "verification",
        "of": request.flow_id(),
        "user": request.other_user_id(),
        "phase": phase,
        "code": code,
    }));
}
