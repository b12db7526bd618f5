//! Bad input to endpoints of accounts.

use super::{Case, noise, table};

pub(super) fn cases() -> Vec<Case> {
    let tables = [
        LOGIN,
        REGISTER,
        LOOK_UPS,
        PROFILE,
        PRESENCE,
        PRIVATE,
        DEVICES,
        KEYS,
        TO_DEVICE,
        ROOM_KEYS,
        ADMINISTRATION,
    ];
    let mut cases = tables.map(table).concat();
    cases.extend(bodies());
    cases.extend(large());
    cases
}

/// Bodies that are wrong everywhere.
fn bodies() -> Vec<Case> {
    let places = [
        ("nobody", "POST", "login"),
        ("nobody", "POST", "register"),
        ("nobody", "POST", "refresh"),
        ("alice", "POST", "account/password"),
        ("alice", "POST", "account/deactivate"),
        ("alice", "POST", "delete_devices"),
        ("alice", "PUT", "devices/PHONE"),
        ("alice", "POST", "keys/query"),
        ("alice", "POST", "keys/claim"),
        ("alice", "PUT", "profile/{alice}/displayname"),
        ("alice", "PUT", "presence/{alice}/status"),
        ("alice", "PUT", "user/{alice}/account_data/org.example"),
        ("alice", "POST", "user/{alice}/filter"),
        ("alice", "PUT", "sendToDevice/m.a/1"),
        ("alice", "POST", "room_keys/version"),
        (
            "alice",
            "PUT",
            "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device",
        ),
        ("admin", "PUT", "/_matrix/client/v1/admin/lock/{alice}"),
    ];
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    let bodies: [(&[u8], &str); 7] = [
        (b"{", "M_NOT_JSON"),
        (b"hello", "M_NOT_JSON"),
        (b"{\"type\":\"\xff\"}", "M_NOT_JSON"),
        (b"{} {}", "M_NOT_JSON"),
        (b"[]", "M_BAD_JSON"),
        (b"null", "M_BAD_JSON"),
        (b"1", "M_BAD_JSON"),
    ];
    let mut cases = Vec::new();
    for (who, method, path) in places {
        let case = |body: &[u8], status, errcode| Case {
            who,
            method,
            path: path.to_owned(),
            body: body.to_vec(),
            status,
            errcode,
        };
        cases.extend(bodies.map(|(body, errcode)| case(body, 400, errcode)));
        let (status, errcode) = match who {
            // What strangers send is not even read.
            "nobody" => (413, "M_TOO_LARGE"),
            _ => (400, "M_BAD_JSON"),
        };
        cases.push(case(deep.as_bytes(), status, errcode));
    }
    cases
}

/// What is longer than anybody needs.
fn large() -> Vec<Case> {
    let mut cases = table(LARGE);
    for case in &mut cases {
        let body = String::from_utf8(case.body.clone()).unwrap();
        let (key, length) = body.split_once(':').unwrap();
        let text = noise(length.parse().unwrap());
        case.body = format!("{{\"{key}\":\"{text}\"}}").into();
    }
    cases.push(Case {
        who: "alice",
        method: "POST",
        path: "delete_devices".to_owned(),
        body: format!("{{\"devices\":[{}1]}}", "1,".repeat(1 << 20)).into(),
        status: 413,
        errcode: "M_TOO_LARGE",
    });
    cases
}

/// Instead of a body: its key, and the length of the text there.
const LARGE: &str = "
    nobody POST login                                       user:70000          413 M_TOO_LARGE
    nobody POST register                                    username:70000      413 M_TOO_LARGE
    nobody POST refresh                                     refresh_token:70000 413 M_TOO_LARGE
    nobody POST refresh                                     refresh_token:60000 401 M_UNKNOWN_TOKEN
    alice  POST account/password                            new_password:5000000 413 M_TOO_LARGE
    alice  PUT  profile/{alice}/displayname                 displayname:70000   400 M_PROFILE_TOO_LARGE
    alice  PUT  profile/{alice}/org.example                 org.example:70000   400 M_PROFILE_TOO_LARGE
    alice  PUT  user/{alice}/account_data/org.example       a:5000000           413 M_TOO_LARGE
    alice  POST user/{alice}/filter                         a:100000            413 M_TOO_LARGE
    alice  PUT  devices/PHONE                               display_name:70000  400 M_INVALID_PARAM
";

/// <https://spec.matrix.org/v1.19/client-server-api/#login>
const LOGIN: &str = r#"
    nobody POST login - 400 M_NOT_JSON
    nobody POST login {} 400 M_BAD_JSON
    nobody POST login {"type":1} 400 M_BAD_JSON
    nobody POST login {"type":"m.login.sneeze"} 400 M_UNKNOWN
    nobody POST login {"type":"m.login.password"} 400 M_MISSING_PARAM
    nobody POST login {"type":"m.login.password","user":"alice"} 400 M_MISSING_PARAM
    nobody POST login {"type":"m.login.password","password":"alice"} 400 M_MISSING_PARAM
    nobody POST login {"type":"m.login.password","user":"alice","password":1} 400 M_BAD_JSON
    nobody POST login {"type":"m.login.password","user":["alice"],"password":"alice"} 400 M_BAD_JSON
    nobody POST login {"type":"m.login.password","user":"alice","password":"wrong"} 403 M_FORBIDDEN
    nobody POST login {"type":"m.login.password","user":"alice","password":""} 403 M_FORBIDDEN
    nobody POST login {"type":"m.login.password","user":"alice","password":"{3000}"} 403 M_FORBIDDEN
    nobody POST login {"type":"m.login.password","user":"alice","password":"alice\u0000"} 403 M_FORBIDDEN
    nobody POST login {"type":"m.login.password","user":"","password":"alice"} 403 M_FORBIDDEN
    nobody POST login {"type":"m.login.password","user":"alice\u0000","password":"alice"} 403 M_FORBIDDEN
    nobody POST login {"type":"m.login.password","user":"{3000}","password":"alice"} 403 M_FORBIDDEN
    nobody POST login {"type":"m.login.password","user":"@alice:elsewhere","password":"alice"} 403 M_FORBIDDEN
    nobody POST login {"type":"m.login.password","user":"@","password":"alice"} 403 M_FORBIDDEN
    nobody POST login {"type":"m.login.password","identifier":"alice","password":"alice"} 400 M_BAD_JSON
    nobody POST login {"type":"m.login.password","identifier":{},"password":"alice"} 400 M_BAD_JSON
    nobody POST login {"type":"m.login.password","identifier":{"type":"m.id.user"},"password":"alice"} 400 M_MISSING_PARAM
    nobody POST login {"type":"m.login.password","identifier":{"type":"m.id.sneeze","user":"alice"},"password":"alice"} 400 M_UNKNOWN
    nobody POST login {"type":"m.login.password","identifier":{"type":"m.id.thirdparty","medium":"email","address":"a@b"},"password":"a"} 403 M_FORBIDDEN
    nobody POST login {"type":"m.login.password","user":"alice","password":"alice","device_id":1} 400 M_BAD_JSON
    nobody POST login {"type":"m.login.password","user":"alice","password":"alice","device_id":"{3000}"} 400 M_INVALID_PARAM
    nobody POST login {"type":"m.login.password","user":"alice","password":"alice","initial_device_display_name":"{3000}"} 400 M_INVALID_PARAM
    nobody POST login {"type":"m.login.password","user":"alice","password":"alice","refresh_token":"yes"} 400 M_BAD_JSON
    nobody POST login {"type":"m.login.token"} 400 M_MISSING_PARAM
    nobody POST login {"type":"m.login.token","token":"forged"} 403 M_FORBIDDEN
    nobody POST login {"type":"m.login.token","token":"\u0000"} 403 M_FORBIDDEN
    nobody POST refresh {} 400 M_BAD_JSON
    nobody POST refresh {"refresh_token":null} 400 M_BAD_JSON
"#;

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register>
const REGISTER: &str = r#"
    nobody POST register {"username":"alice","password":"x","auth":{"type":"m.login.dummy"}} 400 M_USER_IN_USE
    nobody POST register {"username":"no_name!","password":"x","auth":{"type":"m.login.dummy"}} 400 M_INVALID_USERNAME
    nobody POST register {"username":"{256}","password":"x","auth":{"type":"m.login.dummy"}} 400 M_INVALID_USERNAME
    nobody POST register {"username":"","password":"x","auth":{"type":"m.login.dummy"}} 400 M_INVALID_USERNAME
    nobody POST register {"username":"a\u0000","password":"x","auth":{"type":"m.login.dummy"}} 400 M_INVALID_USERNAME
    nobody POST register {"username":"@new:localhost","password":"x","auth":{"type":"m.login.dummy"}} 400 M_INVALID_USERNAME
    nobody POST register {"username":1,"password":"x","auth":{"type":"m.login.dummy"}} 400 M_BAD_JSON
    nobody POST register {"username":"new","auth":{"type":"m.login.dummy"}} 400 M_MISSING_PARAM
    nobody POST register {"username":"new","password":1,"auth":{"type":"m.login.dummy"}} 400 M_BAD_JSON
    nobody POST register {"username":"new","password":"","auth":{"type":"m.login.dummy"}} 400 M_WEAK_PASSWORD
    nobody POST register {"username":"new","password":"{3000}","auth":{"type":"m.login.dummy"}} 400 M_WEAK_PASSWORD
    nobody POST register {"username":"new","password":"x","auth":"m.login.dummy"} 400 M_BAD_JSON
    nobody POST register {"username":"new","password":"x","auth":{"type":"m.login.sneeze"}} 401 M_UNRECOGNIZED
    nobody POST register {"username":"new","password":"x","auth":{"type":"m.login.dummy","session":"forged"}} 401 M_UNKNOWN
    nobody POST register {"username":"new","password":"x","inhibit_login":"yes","auth":{"type":"m.login.dummy"}} 400 M_BAD_JSON
    nobody POST register?kind=robot {"username":"new","password":"x","auth":{"type":"m.login.dummy"}} 400 M_INVALID_PARAM
    nobody GET register/available - 400 M_MISSING_PARAM
    nobody GET register/available?username= - 400 M_INVALID_USERNAME
    nobody GET register/available?username=alice - 400 M_USER_IN_USE
    nobody GET register/available?username=no%20name - 400 M_INVALID_USERNAME
    nobody GET register/available?username=a%00 - 400 M_INVALID_USERNAME
    nobody GET register/available?username={3000} - 400 M_INVALID_USERNAME
    nobody GET register/available?username=a&username=b - 400 M_INVALID_PARAM
    nobody GET /_matrix/client/v1/register/m.login.registration_token/validity - 400 M_MISSING_PARAM
    nobody POST register {"username":"new","password":"x","device_id":"{3000}","auth":{"type":"m.login.dummy"}} 400 M_INVALID_PARAM
    nobody POST register {"username":"new","password":"x","auth":{"type":"m.login.dummy","session":"\u0000"}} 401 M_UNKNOWN
    nobody GET auth/m.login.sneeze/fallback/web?session=x - 404 M_UNRECOGNIZED
    nobody GET auth/m.login.dummy/fallback/web - 400 M_MISSING_PARAM
"#;

/// Users and networks that are looked for.
const LOOK_UPS: &str = r#"
    nobody POST user_directory/search {"search_term":"a"} 401 M_MISSING_TOKEN
    guest POST user_directory/search {"search_term":"a"} 403 M_GUEST_ACCESS_FORBIDDEN
    alice POST user_directory/search {} 400 M_BAD_JSON
    alice POST user_directory/search {"search_term":1} 400 M_BAD_JSON
    alice POST user_directory/search {"search_term":"a","limit":-1} 400 M_BAD_JSON
    alice POST user_directory/search {"search_term":"a","limit":"1"} 400 M_BAD_JSON
    alice POST user_directory/search {"search_term":"{3000}"} 400 M_INVALID_PARAM
    alice GET thirdparty/protocol/irc - 404 M_NOT_FOUND
    alice GET thirdparty/location/irc - 404 M_NOT_FOUND
    alice GET thirdparty/location - 400 M_MISSING_PARAM
    alice GET thirdparty/user - 400 M_MISSING_PARAM
    alice GET thirdparty/user?userid={bob} - 404 M_NOT_FOUND
"#;

/// <https://spec.matrix.org/v1.19/client-server-api/#profiles>
const PROFILE: &str = r#"
    nobody GET profile/alice - 400 M_INVALID_PARAM
    nobody GET profile/%40 - 400 M_INVALID_PARAM
    nobody GET profile/%40a%00%3Alocalhost - 400 M_INVALID_PARAM
    nobody GET profile/%40%FF%3Alocalhost - 400 M_INVALID_PARAM
    nobody GET profile/%40{256}%3Alocalhost - 400 M_INVALID_PARAM
    nobody GET profile/%40nobody%3Alocalhost - 404 M_NOT_FOUND
    nobody GET profile/%40alice%3Aelsewhere - 404 M_NOT_FOUND
    nobody GET profile/{alice}/avatar_url - 404 M_NOT_FOUND
    nobody GET profile/{alice}/Sneeze - 404 M_NOT_FOUND
    nobody GET profile/{alice}/{256} - 404 M_NOT_FOUND
    alice PUT profile/{alice}/displayname {} 400 M_MISSING_PARAM
    alice PUT profile/{alice}/displayname {"displayname":1} 400 M_BAD_JSON
    alice PUT profile/{alice}/displayname {"displayname":null} 400 M_BAD_JSON
    alice PUT profile/{alice}/avatar_url {"avatar_url":{}} 400 M_BAD_JSON
    alice PUT profile/{alice}/avatar_url {"avatar_url":"nonsense"} 400 M_INVALID_PARAM
    alice PUT profile/{alice}/m.tz {"m.tz":7} 400 M_BAD_JSON
    alice PUT profile/{alice}/org.example {"org.other":"x"} 400 M_MISSING_PARAM
    alice PUT profile/{alice}/org.example {"org.example":"x" 400 M_NOT_JSON
    alice PUT profile/{alice}/org.example ["org.example"] 400 M_BAD_JSON
    alice PUT profile/{alice}/Org.example {"Org.example":"x"} 400 M_INVALID_PARAM
    alice PUT profile/{alice}/nickname {"nickname":"x"} 400 M_INVALID_PARAM
    alice DELETE profile/{alice}/Org.example - 400 M_INVALID_PARAM
    alice DELETE profile/{alice}/{256} - 400 M_KEY_TOO_LARGE
    alice PUT profile/{bob}/org.example {"org.example":"x"} 403 M_FORBIDDEN
    alice PUT profile/{alice}/{256} {"a":"x"} 400 M_KEY_TOO_LARGE
    alice PUT profile/{alice}/a%00 {"a":"x"} 400 M_INVALID_PARAM
    alice PUT profile/{bob}/displayname {"displayname":"Bob"} 403 M_FORBIDDEN
    alice DELETE profile/{bob}/displayname - 403 M_FORBIDDEN
    alice PUT profile/nonsense/displayname {"displayname":"x"} 403 M_FORBIDDEN
"#;

/// Account data, filters, push rules and tokens for others.
const PRIVATE: &str = r#"
    alice GET user/{alice}/account_data/org.missing - 404 M_NOT_FOUND
    alice GET user/{alice}/account_data/a%00 - 404 M_NOT_FOUND
    alice GET user/{bob}/account_data/org.example - 403 M_FORBIDDEN
    alice PUT user/{bob}/account_data/org.example {} 403 M_FORBIDDEN
    alice GET user/{bob}/rooms/{room}/tags - 403 M_FORBIDDEN
    alice PUT user/{bob}/rooms/{room}/tags/a {} 403 M_FORBIDDEN
    alice DELETE user/{bob}/rooms/{room}/tags/a - 403 M_FORBIDDEN
    alice GET user/{alice}/rooms/!unknown:localhost/tags - 404 M_NOT_FOUND
    alice PUT user/{alice}/rooms/!unknown:localhost/tags/a {} 404 M_NOT_FOUND
    alice PUT user/{alice}/rooms/nonsense/tags/a {} 400 M_INVALID_PARAM
    alice DELETE user/{alice}/rooms/nonsense/tags/a - 400 M_INVALID_PARAM
    alice PUT user/{alice}/rooms/{room}/tags/{256} {} 400 M_INVALID_PARAM
    alice PUT user/{alice}/rooms/{room}/tags/a [] 400 M_BAD_JSON
    alice PUT user/{alice}/rooms/{room}/tags/a { 400 M_NOT_JSON
    alice PUT user/{alice}/rooms/{room}/tags/a {"order":true} 400 M_BAD_JSON
    alice PUT user/{alice}/account_data/m.fully_read {} 405 M_BAD_JSON
    alice PUT user/{alice}/account_data/m.push_rules {} 405 M_BAD_JSON
    alice PUT user/{alice}/account_data/{256} {} 400 M_INVALID_PARAM
    alice PUT user/{alice}/account_data/%FF {} 400 M_INVALID_PARAM
    alice PUT user/{alice}/account_data/org.example - 400 M_NOT_JSON
    alice PUT user/{alice}/rooms/{room}/account_data/m.fully_read {} 405 M_BAD_JSON
    alice PUT user/{alice}/rooms/nonsense/account_data/a {} 400 M_INVALID_PARAM
    alice PUT user/{alice}/rooms/%21a%00/account_data/a {} 400 M_INVALID_PARAM
    alice PUT user/{alice}/rooms/%21a%00%3Alocalhost/account_data/a {} 400 M_INVALID_PARAM
    alice PUT user/{bob}/rooms/{room}/account_data/a {} 403 M_FORBIDDEN
    alice DELETE user/{bob}/account_data/org.example - 403 M_FORBIDDEN
    alice DELETE user/{alice}/account_data/m.fully_read - 405 M_BAD_JSON
    alice DELETE user/{alice}/account_data/m.push_rules - 405 M_BAD_JSON
    alice DELETE user/{alice}/account_data/{256} - 400 M_INVALID_PARAM
    alice DELETE user/{alice}/rooms/{room}/account_data/m.fully_read - 405 M_BAD_JSON
    alice DELETE user/{alice}/rooms/nonsense/account_data/a - 400 M_INVALID_PARAM
    alice DELETE user/{alice}/rooms/%21unknown%3Alocalhost/account_data/a - 404 M_NOT_FOUND
    alice DELETE user/{bob}/rooms/{room}/account_data/a - 403 M_FORBIDDEN
    alice GET user/{alice}/rooms/{room}/account_data/org.missing - 404 M_NOT_FOUND
    alice GET user/{alice}/rooms/%21unknown%3Alocalhost/account_data/a - 404 M_NOT_FOUND
    alice POST user/{bob}/filter {} 403 M_FORBIDDEN
    alice POST user/{alice}/filter - 400 M_NOT_JSON
    alice POST user/{alice}/filter {"room":1} 400 M_BAD_JSON
    alice POST user/{alice}/filter {"room":{"timeline":{"limit":"many"}}} 400 M_BAD_JSON
    alice POST user/{alice}/filter {"room":{"timeline":{"types":"m.room.message"}}} 400 M_BAD_JSON
    alice POST user/{alice}/filter {"event_format":"sneeze"} 400 M_BAD_JSON
    alice GET user/{alice}/filter/0 - 404 M_NOT_FOUND
    alice GET user/{alice}/filter/999999 - 404 M_NOT_FOUND
    alice GET user/{alice}/filter/-1 - 404 M_NOT_FOUND
    alice GET user/{alice}/filter/nonsense - 404 M_NOT_FOUND
    alice GET user/{alice}/filter/99999999999999999999999 - 404 M_NOT_FOUND
    alice GET user/{bob}/filter/0 - 403 M_FORBIDDEN
    alice GET pushrules/global/sneeze/.m.rule.master - 400 M_INVALID_PARAM
    alice GET pushrules/global/override/nonsense - 404 M_NOT_FOUND
    alice GET pushrules/global/override/nonsense/enabled - 404 M_NOT_FOUND
    alice GET pushrules/global/override/%00/actions - 404 M_NOT_FOUND
    alice PUT pushrules/global/override/a - 400 M_NOT_JSON
    alice PUT pushrules/global/override/a {} 400 M_MISSING_PARAM
    alice PUT pushrules/global/override/a {"actions":1} 400 M_BAD_JSON
    alice PUT pushrules/global/override/a {"actions":[null]} 400 M_INVALID_PARAM
    alice PUT pushrules/global/override/a {"actions":[],"conditions":{}} 400 M_BAD_JSON
    alice PUT pushrules/global/override/a {"actions":[],"conditions":[[]]} 400 M_INVALID_PARAM
    alice PUT pushrules/global/override/.a {"actions":[]} 400 M_INVALID_PARAM
    alice PUT pushrules/global/override/{3000} {"actions":[]} 400 M_INVALID_PARAM
    alice PUT pushrules/global/override/a?before=nobody {"actions":[]} 400 M_UNKNOWN
    alice PUT pushrules/global/override/a?after=%00 {"actions":[]} 400 M_UNKNOWN
    alice PUT pushrules/global/content/a {"actions":[],"pattern":1} 400 M_BAD_JSON
    alice PUT pushrules/global/content/a {"actions":[]} 400 M_INVALID_PARAM
    alice PUT pushrules/global/sneeze/a {"actions":[]} 400 M_INVALID_PARAM
    alice DELETE pushrules/global/sneeze/a - 400 M_INVALID_PARAM
    alice DELETE pushrules/global/override/a - 404 M_NOT_FOUND
    alice DELETE pushrules/global/override/.m.rule.master - 400 M_INVALID_PARAM
    alice PUT pushrules/global/override/.m.rule.master/enabled {} 400 M_BAD_JSON
    alice PUT pushrules/global/override/.m.rule.master/enabled {"enabled":"yes"} 400 M_BAD_JSON
    alice PUT pushrules/global/override/nonsense/enabled {"enabled":true} 404 M_NOT_FOUND
    alice PUT pushrules/global/override/.m.rule.master/actions {} 400 M_MISSING_PARAM
    alice PUT pushrules/global/override/.m.rule.master/actions {"actions":["sneeze"]} 400 M_INVALID_PARAM
    alice PUT pushrules/global/override/nonsense/actions {"actions":[]} 404 M_NOT_FOUND
    alice POST pushers/set - 400 M_NOT_JSON
    alice POST pushers/set {} 400 M_MISSING_PARAM
    alice POST pushers/set {"app_id":"a","pushkey":"k"} 400 M_MISSING_PARAM
    alice POST pushers/set {"app_id":"a","pushkey":"k","kind":"http"} 400 M_MISSING_PARAM
    alice POST pushers/set {"app_id":"a","pushkey":"k","kind":"email"} 400 M_INVALID_PARAM
    alice POST pushers/set {"app_id":"a","pushkey":1,"kind":null} 400 M_BAD_JSON
    alice POST user/{bob}/openid/request_token {} 403 M_FORBIDDEN
"#;

/// Devices, and what asks for interactive authentication.
const DEVICES: &str = r#"
    alice GET devices/UNKNOWN - 404 M_NOT_FOUND
    alice GET devices/{3000} - 404 M_NOT_FOUND
    alice GET devices/a%00 - 404 M_NOT_FOUND
    alice GET devices/%FF - 400 M_INVALID_PARAM
    alice PUT devices/UNKNOWN {"display_name":"x"} 404 M_NOT_FOUND
    alice PUT devices/UNKNOWN {} 404 M_NOT_FOUND
    alice PUT devices/a%00 {"display_name":"x"} 404 M_NOT_FOUND
    alice PUT devices/UNKNOWN {"display_name":1} 400 M_BAD_JSON
    alice DELETE devices/UNKNOWN {"auth":1} 400 M_BAD_JSON
    alice DELETE devices/UNKNOWN {"auth":{"type":"m.login.password","user":"alice","password":"wrong"}} 401 M_FORBIDDEN
    alice DELETE devices/UNKNOWN {"auth":{"type":"m.login.password","user":"bob","password":"bob"}} 401 M_FORBIDDEN
    alice DELETE devices/UNKNOWN {"auth":{"type":"m.login.password"}} 400 M_MISSING_PARAM
    alice DELETE devices/UNKNOWN {"auth":{"type":"m.login.dummy"}} 401 M_UNRECOGNIZED
    alice POST delete_devices {} 400 M_BAD_JSON
    alice POST delete_devices {"devices":"PHONE"} 400 M_BAD_JSON
    alice POST delete_devices {"devices":[1]} 400 M_BAD_JSON
    alice POST account/password {"new_password":1} 400 M_BAD_JSON
    alice POST account/password {"new_password":"x","logout_devices":"no"} 400 M_BAD_JSON
    alice POST account/password {"auth":{"type":"m.login.password","user":"alice","password":"alice"}} 400 M_MISSING_PARAM
    alice POST account/password {"new_password":"","auth":{"type":"m.login.password","user":"alice","password":"alice"}} 400 M_WEAK_PASSWORD
    alice POST account/password {"new_password":"x","auth":{"type":"m.login.password","user":"alice","password":"wrong"}} 401 M_FORBIDDEN
    alice POST account/password {"new_password":"x","auth":{"type":"m.login.password","session":"forged","password":"alice"}} 401 M_UNKNOWN
    alice POST account/deactivate {"auth":{"type":"m.login.password","user":"alice","password":"wrong"}} 401 M_FORBIDDEN
    alice POST account/deactivate {"auth":[]} 400 M_BAD_JSON
    alice POST account/deactivate {"erase":"yes"} 400 M_BAD_JSON
    alice POST /_matrix/client/v1/login/get_token {"auth":{"type":"m.login.password","user":"alice","password":"wrong"}} 401 M_FORBIDDEN
"#;

/// <https://spec.matrix.org/v1.19/client-server-api/#key-management-api>
const KEYS: &str = r#"
    alice POST keys/upload {"device_keys":1} 400 M_INVALID_PARAM
    alice POST keys/upload {"device_keys":{}} 400 M_INVALID_PARAM
    alice POST keys/upload {"one_time_keys":[]} 400 M_BAD_JSON
    alice POST keys/upload {"one_time_keys":{"x:{3000}":"y"}} 400 M_INVALID_PARAM
    alice POST keys/upload {"one_time_keys":{"x:y":1}} 400 M_INVALID_PARAM
    alice POST keys/upload {"fallback_keys":{"x":"y"}} 400 M_INVALID_PARAM
    nobody POST keys/upload {} 401 M_MISSING_TOKEN
    alice POST keys/query {} 400 M_BAD_JSON
    alice POST keys/query {"device_keys":{"{alice}":"PHONE"}} 400 M_BAD_JSON
    alice POST keys/query {"device_keys":{"alice":[]}} 400 M_INVALID_PARAM
    alice POST keys/claim {} 400 M_BAD_JSON
    alice POST keys/claim {"one_time_keys":{"{alice}":["PHONE"]}} 400 M_BAD_JSON
    alice POST keys/claim {"one_time_keys":{"@a\u0000:localhost":{}}} 400 M_INVALID_PARAM
    alice POST keys/device_signing/upload {} 400 M_MISSING_PARAM
    alice POST keys/device_signing/upload {"master_key":[]} 400 M_INVALID_PARAM
    alice POST keys/device_signing/upload {"master_key":{"user_id":"{alice}","usage":["master"],"keys":{}}} 400 M_INVALID_PARAM
    alice POST keys/device_signing/upload {"self_signing_key":{"user_id":"{bob}"}} 400 M_INVALID_PARAM
    nobody POST keys/device_signing/upload {} 401 M_MISSING_TOKEN
    alice POST keys/signatures/upload {"alice":{}} 400 M_INVALID_PARAM
    alice POST keys/signatures/upload {"{alice}":[]} 400 M_BAD_JSON
    alice GET keys/changes?from=s1_0 - 400 M_MISSING_PARAM
    alice GET keys/changes?from=x&to=y - 400 M_INVALID_PARAM
"#;

/// <https://spec.matrix.org/v1.19/client-server-api/#server-administration>
const ADMINISTRATION: &str = r#"
    alice PUT /_matrix/client/v1/admin/lock/{bob} {"locked":true} 403 M_FORBIDDEN
    alice GET /_matrix/client/v1/admin/lock/{bob} - 403 M_FORBIDDEN
    alice PUT /_matrix/client/v1/admin/suspend/{bob} {"suspended":true} 403 M_FORBIDDEN
    alice GET admin/whois/{bob} - 403 M_FORBIDDEN
    nobody PUT /_matrix/client/v1/admin/lock/{bob} {"locked":true} 401 M_MISSING_TOKEN
    admin PUT /_matrix/client/v1/admin/lock/{admin} {"locked":true} 403 M_FORBIDDEN
    admin PUT /_matrix/client/v1/admin/lock/%40nobody%3Alocalhost {"locked":true} 404 M_NOT_FOUND
    admin PUT /_matrix/client/v1/admin/lock/%40a%3Aelsewhere {"locked":true} 400 M_INVALID_PARAM
    admin PUT /_matrix/client/v1/admin/lock/bob {"locked":true} 400 M_INVALID_PARAM
    admin PUT /_matrix/client/v1/admin/lock/{bob} {} 400 M_BAD_JSON
    admin PUT /_matrix/client/v1/admin/lock/{bob} {"locked":"yes"} 400 M_BAD_JSON
    admin PUT /_matrix/client/v1/admin/suspend/{bob} {"suspended":1} 400 M_BAD_JSON
    admin GET /_matrix/client/v1/admin/suspend/%40nobody%3Alocalhost - 404 M_NOT_FOUND
    admin GET admin/whois/nonsense - 400 M_INVALID_PARAM
    admin GET admin/whois/%40nobody%3Alocalhost - 404 M_NOT_FOUND
"#;

/// <https://spec.matrix.org/v1.19/client-server-api/#presence>
const PRESENCE: &str = r#"
    alice PUT presence/{alice}/status {} 400 M_BAD_JSON
    alice PUT presence/{alice}/status {"presence":"busy"} 400 M_BAD_JSON
    alice PUT presence/{alice}/status {"presence":1} 400 M_BAD_JSON
    alice PUT presence/{alice}/status {"presence":"online","status_msg":1} 400 M_BAD_JSON
    alice PUT presence/{alice}/status {"presence":"online","status_msg":"{3000}"} 400 M_INVALID_PARAM
    alice PUT presence/{bob}/status {"presence":"online"} 403 M_FORBIDDEN
    alice PUT presence/alice/status {"presence":"online"} 403 M_FORBIDDEN
    alice GET presence/{bob}/status - 403 M_FORBIDDEN
    alice GET presence/bob/status - 403 M_FORBIDDEN
    alice GET presence/%40a%00%3Alocalhost/status - 403 M_FORBIDDEN
    alice GET presence/%FF/status - 400 M_INVALID_PARAM
    guest PUT presence/{alice}/status {"presence":"online"} 403 M_GUEST_ACCESS_FORBIDDEN
"#;

/// <https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging>
const TO_DEVICE: &str = r#"
    nobody PUT sendToDevice/m.a/1 {"messages":{}} 401 M_MISSING_TOKEN
    alice PUT sendToDevice/m.a/1 - 400 M_NOT_JSON
    alice PUT sendToDevice/m.a/1 {} 400 M_MISSING_PARAM
    alice PUT sendToDevice/m.a/1 {"messages":null} 400 M_BAD_JSON
    alice PUT sendToDevice/m.a/1 {"messages":{"{bob}":1}} 400 M_BAD_JSON
    alice PUT sendToDevice/m.a/1 {"messages":{"{bob}":{"*":1}}} 400 M_BAD_JSON
    alice PUT sendToDevice/m.a/1 {"messages":{"{bob}":{"*":{"n":1.5}}}} 400 M_BAD_JSON
    alice PUT sendToDevice/{256}/1 {"messages":{"{bob}":{"*":{}}}} 400 M_INVALID_PARAM
    alice PUT sendToDevice/m.a/{3000} {"messages":{"{bob}":{"*":{}}}} 400 M_INVALID_PARAM
"#;

/// <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>
const ROOM_KEYS: &str = r#"
    nobody GET room_keys/version - 401 M_MISSING_TOKEN
    guest GET room_keys/version - 403 M_GUEST_ACCESS_FORBIDDEN
    alice GET room_keys/version - 404 M_NOT_FOUND
    alice GET room_keys/version/1 - 404 M_NOT_FOUND
    alice GET room_keys/version/%00 - 404 M_NOT_FOUND
    alice POST room_keys/version {} 400 M_BAD_JSON
    alice POST room_keys/version {"algorithm":"a"} 400 M_BAD_JSON
    alice POST room_keys/version {"algorithm":1,"auth_data":{}} 400 M_BAD_JSON
    alice POST room_keys/version {"algorithm":"a","auth_data":[]} 400 M_BAD_JSON
    alice POST room_keys/version {"algorithm":"","auth_data":{}} 400 M_INVALID_PARAM
    alice POST room_keys/version {"algorithm":"{3000}","auth_data":{}} 400 M_INVALID_PARAM
    alice PUT room_keys/version/1 {"algorithm":"a","auth_data":{}} 404 M_NOT_FOUND
    alice PUT room_keys/version/1 {"algorithm":"a","auth_data":{},"version":"2"} 400 M_INVALID_PARAM
    alice DELETE room_keys/version/1 - 404 M_NOT_FOUND
    nobody GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device - 401 M_MISSING_TOKEN
    guest GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device - 403 M_GUEST_ACCESS_FORBIDDEN
    alice PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device {} 400 M_BAD_JSON
    alice PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device {"device_id":"x","device_data":{"algorithm":"a"},"device_keys":1} 400 M_INVALID_PARAM
    alice GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/x/events?limit=x - 400 M_INVALID_PARAM
    alice GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/x/events?from=x - 400 M_INVALID_PARAM
    alice POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/x/events {"next_batch":1} 400 M_BAD_JSON
    alice POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/%00/events {} 403 M_FORBIDDEN
    alice GET room_keys/keys - 400 M_MISSING_PARAM
    alice GET room_keys/keys?version=1 - 404 M_NOT_FOUND
    alice GET room_keys/keys/{room}?version=1 - 404 M_NOT_FOUND
    alice GET room_keys/keys/{room}/s?version=1 - 404 M_NOT_FOUND
    alice DELETE room_keys/keys?version=1 - 404 M_NOT_FOUND
    alice PUT room_keys/keys {"rooms":{}} 400 M_MISSING_PARAM
    alice PUT room_keys/keys?version=1 {} 400 M_BAD_JSON
    alice PUT room_keys/keys?version=1 {"rooms":{"{room}":{}}} 400 M_BAD_JSON
    alice PUT room_keys/keys?version=1 {"rooms":{"{room}":{"sessions":{"s":{}}}}} 400 M_BAD_JSON
    alice PUT room_keys/keys/{room}?version=1 {"sessions":[]} 400 M_BAD_JSON
    alice PUT room_keys/keys/{room}/s?version=1 {} 400 M_BAD_JSON
    alice PUT room_keys/keys/{room}/s?version=1 {"first_message_index":-1,"forwarded_count":0,"is_verified":true,"session_data":{}} 400 M_INVALID_PARAM
    alice PUT room_keys/keys/{room}/s?version=1 {"first_message_index":0,"forwarded_count":0,"is_verified":1,"session_data":{}} 400 M_BAD_JSON
    alice PUT room_keys/keys/{room}/s?version=1 {"first_message_index":0,"forwarded_count":0,"is_verified":true,"session_data":"x"} 400 M_BAD_JSON
    alice PUT room_keys/keys/{room}/{3000}?version=1 {"first_message_index":0,"forwarded_count":0,"is_verified":true,"session_data":{}} 413 M_TOO_LARGE
    alice PUT room_keys/keys/{room}/s?version=1 {"first_message_index":0,"forwarded_count":0,"is_verified":true,"session_data":{}} 404 M_NOT_FOUND
"#;
