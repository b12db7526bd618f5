//! What a server refuses as a whole goes in parts. Perhaps it refuses one event or EDU only, or that it is so much; everything
//! else must not wait for that for ever.

use ruma_common::{OwnedServerName, ServerName};
use starling_outbound::RemoteError;

use super::SenderParts;
use super::transaction::{
    Attempted, Contents, Outcome, Transaction, forget_to_device, is_for_its_contents, log_refused,
    put,
};

/// What became of the parts.
#[derive(Debug, Default)]
struct Parts {
    /// What the server has.
    taken: Vec<Contents>,
    /// What it refuses though it stands alone: one event or EDU each.
    refused: Vec<(Contents, RemoteError)>,
    /// Why the others weren't sent, if some weren't.
    failure: Option<RemoteError>,
}

/// Sends in parts what was refused in the transaction `id`. An event that is refused alone is given up if the server takes another
/// at the same time, and so is an EDU; else it may be that it takes none from us, or that what stands before it refuses all for a
/// while, and it is kept.
pub(super) async fn apart(
    parts: &SenderParts,
    server: OwnedServerName,
    id: &str,
    whole: Contents,
) -> Attempted {
    let (upto, is_all) = (whole.upto, whole.is_all);
    let has_more_to_device = whole.has_more_to_device;
    let Parts {
        taken: mut gone,
        refused,
        failure,
    } = send_parts(parts, &server, id, whole).await;
    let takes_its_kind = |(part, _): &(Contents, RemoteError)| {
        let is_edu = part.has_edus();
        gone.iter().any(|taken| taken.has_edus() == is_edu)
    };
    let mut is_done = failure.is_none() && refused.iter().all(takes_its_kind);
    if is_done {
        count_given_up(&server, &refused);
        gone.extend(refused.into_iter().map(|(part, _)| part));
    } else {
        let error = failure.or_else(|| Some(refused.into_iter().next_back()?.1));
        tracing::debug!(?error, %server, "a transaction was not taken, nor all of its parts");
    }
    let messages = gone.iter().flat_map(|part| &part.to_device);
    let messages = messages.map(|message| message.position).collect();
    if let Err(error) = forget_to_device(parts, messages).await {
        tracing::warn!(%error, %server, "messages to devices are sent once more");
        is_done = false;
    }
    Attempted {
        server,
        upto,
        is_all,
        to_device: has_more_to_device || !is_done,
        outcome: if is_done {
            Outcome::Sent
        } else {
            Outcome::Failed(None)
        },
    }
}

/// Sends the halves, of each that is refused its halves, and so on, in their order. First an empty transaction: who refuses that
/// refuses everything, and is left alone.
async fn send_parts(parts: &SenderParts, server: &ServerName, id: &str, whole: Contents) -> Parts {
    let mut sent = Parts::default();
    let [first, second] = whole.halves();
    // The next one is the last.
    let mut left = vec![second, first, Contents::default()];
    let mut number = 0;
    while let Some(part) = left.pop() {
        let transaction = Transaction::new(parts, format!("{id}.{number}"), &part);
        number += 1;
        match put(parts, server, &transaction).await {
            Ok(answer) if part.len() > 0 => {
                log_refused(server, &answer);
                sent.taken.push(part);
            }
            Ok(_) => {}
            Err(error) if part.len() == 0 || !is_for_its_contents(&error) => {
                sent.failure = Some(error);
                break;
            }
            Err(error) if part.len() == 1 => sent.refused.push((part, error)),
            Err(_) => {
                let [first, second] = part.halves();
                left.extend([second, first]);
            }
        }
    }
    sent
}

impl Contents {
    /// Two parts, the second of which follows the first: the events and the EDUs, or halves of either. Of what holds two or more,
    /// none is empty.
    fn halves(mut self) -> [Self; 2] {
        let (events, edus, to_device) = match (self.events.len(), self.has_edus()) {
            (0, _) => (0, self.edus.len().div_ceil(2), self.to_device.len() / 2),
            (events, true) => (events, 0, 0),
            (events, false) => (events / 2, 0, 0),
        };
        let second = Self {
            events: self.events.split_off(events),
            edus: self.edus.split_off(edus),
            to_device: self.to_device.split_off(to_device),
            ..Self::default()
        };
        [self, second]
    }
}

/// Tells the administrator once of all that is not sent again, and counts it.
fn count_given_up(server: &ServerName, refused: &[(Contents, RemoteError)]) {
    let Some((_, error)) = refused.last() else {
        return;
    };
    let events = refused.iter().filter(|(part, _)| !part.has_edus()).count();
    let edus = refused.len() - events;
    tracing::warn!(%server, events, edus, %error, "what another server refuses is not sent again");
    for (kind, count) in [("event", events), ("edu", edus)] {
        metrics::counter!("starling_federation_given_up_total", "kind" => kind)
            .increment(u64::try_from(count).unwrap_or(u64::MAX));
    }
}
