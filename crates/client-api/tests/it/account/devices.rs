//! Devices. <https://spec.matrix.org/v1.19/client-server-api/#device-management>

use serde_json::{Value, json};

use super::{User, on_servers};

/// `GET /_matrix/client/v3/devices`, `GET /_matrix/client/v3/devices/{deviceId}`, `PUT /_matrix/client/v3/devices/{deviceId}`
#[tokio::test]
async fn a_user_lists_and_names_their_devices() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let other = User::register(&server, "bob").await;
        let path = format!("devices/{}", alice.device_id);
        let set = alice.put(&path, json!({ "display_name": "Phone ☎" })).await;
        assert_eq!((set.status.as_u16(), set.body), (200, json!({})));

        let list = alice.get("devices").await.body;
        let devices = list["devices"].as_array().unwrap();
        assert_eq!(devices.len(), 1);
        assert_eq!(devices[0]["device_id"], json!(alice.device_id));
        assert_eq!(devices[0]["display_name"], "Phone ☎");
        let one = alice.get(&path).await.body;
        assert_eq!(one["display_name"], "Phone ☎");

        // Without a name nothing changes; an empty one takes the name away.
        assert_eq!(alice.put(&path, json!({})).await.status, 200);
        assert_eq!(alice.get(&path).await.body["display_name"], "Phone ☎");
        alice.put(&path, json!({ "display_name": "" })).await;
        assert_eq!(alice.get(&path).await.body["display_name"], Value::Null);

        // Nobody sees or names those of others.
        let not_found = (404, "M_NOT_FOUND");
        assert_eq!(other.get(&path).await.error(), not_found);
        let named = other.put(&path, json!({ "display_name": "Mine" })).await;
        assert_eq!(named.error(), not_found);
        assert_eq!(other.put(&path, json!({})).await.error(), not_found);
    })
    .await;
}

/// `PUT /_matrix/client/v3/devices/{deviceId}`
#[tokio::test]
async fn bad_names_of_devices_are_refused() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let path = format!("devices/{}", alice.device_id);
        let long = json!({ "display_name": "x".repeat(513) });
        assert_eq!(
            alice.put(&path, long).await.error(),
            (400, "M_INVALID_PARAM")
        );
        let number = json!({ "display_name": 1 });
        assert_eq!(alice.put(&path, number).await.error(), (400, "M_BAD_JSON"));
        assert_eq!(alice.get(&path).await.body["display_name"], Value::Null);
    })
    .await;
}

/// `GET /_matrix/client/v3/account/3pid`
#[tokio::test]
async fn nobody_has_third_party_ids() {
    on_servers(async |server| {
        let alice = User::register(&server, "alice").await;
        let list = alice.get("account/3pid").await;
        assert_eq!(list.body, json!({ "threepids": [] }));
    })
    .await;
}
