//! What is looked at on a device in the end.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};

use super::device::{Device, ONE_TIME_KEYS, Stop};
use super::keys::{PeerKeys, peer_keys};
use super::ledger::DeviceName;
use super::view::RoomView;

impl Device {
    /// Compares the lists of devices that this one has, and those that its server tells, with what they are, of those users
    /// of whom `truth` says it.
    pub(super) async fn check_lists(
        &self,
        truth: &BTreeMap<String, BTreeMap<String, PeerKeys>>,
    ) -> Result<(), Stop> {
        let known: BTreeMap<String, _> = {
            let kept = self.kept.lock();
            let readers = kept.rooms.values().filter(|room| room.rotation.is_some());
            let readers: BTreeSet<String> = readers.flat_map(RoomView::joined).collect();
            let lists = readers.into_iter().map(|user| {
                let list = kept.machine.lists.get(&user).cloned();
                (user, list.unwrap_or_default())
            });
            lists.collect()
        };
        let users: BTreeSet<String> = known.keys().cloned().collect();
        let Some((lists, failed)) = self.fetch_lists(&users).await? else {
            return Ok(());
        };
        let mut ledger = self.ledger.lock();
        if !failed.is_empty() {
            ledger.fail(format!(
                "{:?} is told that {failed:?} don't answer",
                self.name
            ));
        }
        for (user, list) in known {
            let told = peer_keys(&user, lists.get(&user).unwrap_or(&Value::Null));
            let Some(is) = truth.get(&user).cloned() else {
                continue;
            };
            ledger.counts.lists += 1;
            let ids = |devices: &BTreeMap<String, PeerKeys>| {
                devices.keys().cloned().collect::<Vec<String>>()
            };
            if told != is {
                let (told, is) = (ids(&told), ids(&is));
                let who = &self.name;
                ledger.fail(format!(
                    "{who:?} is told that {user} has the devices {told:?}, not {is:?}"
                ));
            } else if list.is_outdated || list.devices != is {
                let (known, is) = (ids(&list.devices), ids(&is));
                let who = &self.name;
                ledger.fail(format!(
                    "{who:?} was never told that {user} has the devices {is:?}, not {known:?}"
                ));
            }
        }
        Ok(())
    }

    /// Checks how many one-time keys the server says that it has.
    pub(super) async fn check_counts(&self) -> Result<(), Stop> {
        let body = Some(json!({}));
        let answer = self.call((Method::POST, "keys/upload"), body).await?;
        let count = answer
            .as_ref()
            .and_then(|it| it.pointer("/one_time_key_counts/signed_curve25519"));
        let count = count.and_then(Value::as_u64).unwrap_or(0);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let told = self.kept.lock().key_count;
        let mut ledger = self.ledger.lock();
        let number = |of: &BTreeMap<DeviceName, BTreeSet<String>>| {
            of.get(&self.name).map_or(0, BTreeSet::len)
        };
        let left = number(&ledger.offered).saturating_sub(number(&ledger.given_out));
        if count != told || count > left || count < ONE_TIME_KEYS {
            let who = &self.name;
            ledger.fail(format!(
                "{who:?} has {count} one-time keys, was told {told}, and {left} were never given out"
            ));
        }
        Ok(())
    }

    /// The messages that it can't decrypt, each by its event and its ciphertext, and how many it has decrypted.
    pub(super) fn read(&self) -> (Vec<(String, String)>, u64) {
        let kept = self.kept.lock();
        let text = |(id, (_, content)): (&String, &(String, Value))| {
            let text = content.get("ciphertext").and_then(Value::as_str);
            (id.clone(), text.unwrap_or_default().to_owned())
        };
        let decrypted = u64::try_from(kept.decrypted.len()).unwrap_or(u64::MAX);
        (kept.waiting.iter().map(text).collect(), decrypted)
    }

    /// The numbers of the messages that it has decrypted.
    pub(super) fn decrypted(&self) -> BTreeSet<u64> {
        self.kept.lock().decrypted.values().copied().collect()
    }
}
