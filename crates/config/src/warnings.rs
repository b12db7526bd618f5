//! Settings that are accepted although they have no effect, mostly as the part that they steer does not exist yet, or although
//! one should not choose them.

use std::net::SocketAddr;

use crate::{Config, Listener, Serves};

impl Config {
    /// Why no new server may have this name, and the fix, if that is so. One that has it already must keep it.
    #[must_use]
    pub fn unfit_name(&self) -> Option<String> {
        let (problem, fix) = self.server_name.check_own().err()?;
        Some(format!("server_name: {problem}; {fix}"))
    }

    /// One line for each setting that has no effect: those that were changed from their default, and those that would protect
    /// and do not; and one for a name that only a server may have that has it already.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.unbuilt_words();
        if let Err((problem, _)) = self.server_name.check_own() {
            lines.push(format!(
                "server_name: {problem} (a server that has it already keeps it, and a new one doesn't start with it)"
            ));
        }
        let serves_admin = |listener: &Listener| listener.serves.contains(&Serves::Admin);
        if !self.registration.shared_secret.is_empty() && !self.listeners.iter().any(serves_admin) {
            lines.push(
                "registration.shared_secret: has no effect, as no listener serves \"admin\""
                    .to_owned(),
            );
        }
        let changed = self.changed_unbuilt_keys();
        lines.extend(
            changed
                .iter()
                .map(|key| format!("{key}: accepted, but not built yet, so it has no effect")),
        );
        lines
    }

    /// One line for each thing that may be meant so, and is often forgotten.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let serving = self.listeners.iter();
        let serving = serving.filter(|listener| listener.serves.contains(&Serves::Federation));
        let addresses: Vec<SocketAddr> = serving.map(|listener| listener.address).collect();
        if !self.federation.enabled || addresses.iter().any(|address| !address.ip().is_loopback()) {
            return Vec::new();
        }
        let note = match addresses.first() {
            Some(address) => format!(
                "other servers can reach this one only if a reverse proxy on this machine passes them on to {address}"
            ),
            None => "no listener serves \"federation\", so no other server can reach this one"
                .to_owned(),
        };
        vec![format!("{note} (docs/federating.md)")]
    }

    /// The words of listeners that nobody answers for, but those of the default: who adds one to these has not asked for
    /// the rest.
    fn unbuilt_words(&self) -> Vec<String> {
        let default = Listener::default().serves;
        let all = self.listeners.iter().flat_map(|listener| &listener.serves);
        let mut words: Vec<&str> = all
            .filter(|serves| !serves.is_built() && !default.contains(serves))
            .map(|serves| serves.word())
            .collect();
        words.sort_unstable();
        words.dedup();
        words
            .iter()
            .map(|word| format!("listeners.serves: \"{word}\" is accepted, but not built yet"))
            .collect()
    }

    fn changed_unbuilt_keys(&self) -> Vec<&'static str> {
        let default = Self::default();
        let keys = [
            (
                "appservices.files",
                self.appservices.files != default.appservices.files,
            ),
            (
                "media.max_upload_bytes",
                self.media.max_upload_bytes != default.media.max_upload_bytes,
            ),
            ("smtp.host", self.smtp.host != default.smtp.host),
            ("smtp.port", self.smtp.port != default.smtp.port),
            ("smtp.from", self.smtp.from != default.smtp.from),
        ];
        keys.into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(key, _)| key)
            .collect()
    }
}
