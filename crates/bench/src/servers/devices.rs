//! Users with several devices that have keys, for what is measured of encryption.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use starling_testkit::TestDevice;

use super::Error;
use super::fan_out::Listener;
use super::site::in_parallel;
use super::target::Target;
use super::user::User;

/// How many devices a user has.
const DEVICES_EACH: usize = 10;
/// How many one-time keys a device has when a round begins: as many as clients usually keep there, twice.
pub const KEYS_EACH: u64 = 100;
/// The algorithm of these keys.
pub const ALGORITHM: &str = "signed_curve25519";
/// How long it may take to upload keys.
const UPLOAD_PATIENCE: Duration = Duration::from_hours(1);

/// Users and their devices, on one server.
#[derive(Debug, Default)]
pub struct Devices {
    /// The users, each with a session without keys.
    pub owners: Vec<User>,
    /// The devices: those that follow each other are of different users.
    pub all: Vec<Device>,
    /// How many keys were asked for that the server had, and that it didn't give.
    pub missing: u64,
}

/// A device that has keys.
#[derive(Debug)]
pub struct Device {
    /// Its session, and how far it has synced.
    pub listener: Listener,
    /// Its keys.
    pub keys: DeviceKeys,
}

/// The keys of a device.
#[derive(Debug)]
pub struct DeviceKeys {
    /// Whose device it is.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// How many one-time keys the server has of it.
    pub stored: u64,
    signer: TestDevice,
    /// How many one-time keys it has made.
    made: u64,
}

impl Devices {
    /// Makes `count` devices, or as many as there are when `patience` is over.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn make(
        target: &Target,
        run: &str,
        count: usize,
        patience: Duration,
    ) -> Result<Self, Error> {
        let names = (0..count.div_ceil(DEVICES_EACH)).map(|number| format!("d{run}.{number}"));
        let target = target.clone();
        let made = in_parallel(names.collect(), patience, move |name| {
            let target = target.clone();
            async move {
                let mut owner = User::register(&target, &name).await?;
                let mut devices = Vec::with_capacity(DEVICES_EACH);
                for number in 0..DEVICES_EACH {
                    devices.push(Device::make(&target, &mut owner, number).await?);
                }
                owner.hang_up();
                Ok((owner, devices))
            }
        });
        let (owners, all): (Vec<User>, Vec<Vec<Device>>) = made.await?.into_iter().unzip();
        let mut made = Self {
            owners,
            all: all.into_iter().flatten().collect(),
            missing: 0,
        };
        made.sort();
        made.all.truncate(count);
        Ok(made)
    }

    /// Uploads one-time keys, so that every device has [`KEYS_EACH`].
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn fill(&mut self) -> Result<(), Error> {
        let all = std::mem::take(&mut self.all);
        let filled = in_parallel(all, UPLOAD_PATIENCE, async move |mut device: Device| {
            device.fill().await?;
            Ok(device)
        });
        self.all = filled.await?;
        self.sort();
        Ok(())
    }

    /// The sessions of all.
    pub fn users(&mut self) -> impl Iterator<Item = &mut User> {
        let devices = self.all.iter_mut();
        let devices = devices.map(|device| &mut device.listener.user);
        devices.chain(&mut self.owners)
    }

    fn sort(&mut self) {
        let place = |keys: &DeviceKeys| (keys.device_id.clone(), keys.user_id.clone());
        self.all.sort_by_cached_key(|device| place(&device.keys));
    }
}

impl Device {
    async fn make(target: &Target, owner: &mut User, number: usize) -> Result<Self, Error> {
        let device_id = format!("DEVICE{number}");
        let mut user = owner.another_device(target, &device_id).await?;
        let user_id = user.id().to_owned();
        let signer = TestDevice::new(&user_id, &device_id, number.to_le_bytes()[0]);
        upload(&mut user, &json!({ "device_keys": signer.keys() })).await?;
        let since = user.sync(None, 0).await?.next_batch;
        user.hang_up();
        Ok(Self {
            listener: Listener { user, since },
            keys: DeviceKeys {
                user_id,
                device_id,
                stored: 0,
                signer,
                made: 0,
            },
        })
    }

    async fn fill(&mut self) -> Result<(), Error> {
        let missing = KEYS_EACH.saturating_sub(self.keys.stored);
        if missing == 0 {
            return Ok(());
        }
        let keys: Map<String, Value> = (0..missing).map(|_| self.keys.next()).collect();
        let user = &mut self.listener.user;
        upload(user, &json!({ "one_time_keys": keys })).await?;
        user.hang_up();
        self.keys.stored = KEYS_EACH;
        Ok(())
    }
}

impl DeviceKeys {
    /// Another one-time key, by its name.
    fn next(&mut self) -> (String, Value) {
        let number = self.made;
        self.made += 1;
        let public = format!("{number} {} {}", self.user_id, self.device_id);
        let public = STANDARD_NO_PAD.encode(Sha256::digest(public));
        let key = self.signer.signed(&json!({ "key": public }));
        (format!("{ALGORITHM}:K{number:08}"), key)
    }
}

async fn upload(user: &mut User, keys: &Value) -> Result<(), Error> {
    let path = "/_matrix/client/v3/keys/upload";
    let body = Bytes::from(keys.to_string());
    user.ask(&Method::POST, path, body).await.map(drop)
}
