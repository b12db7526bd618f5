//! What is refused: each error names the line or the variable, the key, and the fix.

use starling_config::Place;

use crate::{file, load};

/// The text from the second line on is refused at this line, for this key, with a message that holds this.
fn refused(text: &str, line: usize, key: &str, message: &str) {
    let error = file(text).expect_err(text);
    assert_eq!(
        (&error.place, error.key.as_str()),
        (&Place::Line(line), key),
        "{error}"
    );
    assert!(error.to_string().contains(message), "{error}");
    assert!(
        !error.to_string().contains('\n') && !error.fix.is_empty(),
        "{error}"
    );
}

#[test]
fn text_that_is_no_toml() {
    refused("data_dir = ", 2, "", "starling config default");
    refused("\n[database\nurl = 1", 3, "", "");
    refused("data_dir = \"a\"\ndata_dir = \"b\"", 3, "", "duplicate");
}

#[test]
fn unknown_keys() {
    refused(
        "colour = \"red\"",
        2,
        "colour",
        "the sections listeners, database",
    );
    refused(
        "[registration]\nmod = \"open\"",
        3,
        "registration.mod",
        "mode, shared_secret, guests",
    );
    refused(
        "[[listeners]]\n[[listeners]]\nadress = \"127.0.0.1:1\"",
        4,
        "listeners.1.adress",
        "address, serves",
    );
    refused(
        "[[listeners]]\ntls = { certificate = \"a\", key = \"b\", ca = \"c\" }",
        3,
        "listeners.0.tls.ca",
        "no such key",
    );
    refused("[colours]\nred = 1", 2, "colours", "no such key");
}

#[test]
fn bad_values_name_the_key_and_show_how_it_is_written() {
    refused(
        "[passwords]\nmemory_kib = \"much\"",
        3,
        "passwords.memory_kib",
        "memory_kib = 19456",
    );
    refused(
        "[passwords]\nmemory_kib = -1",
        3,
        "passwords.memory_kib",
        "memory_kib = 19456",
    );
    refused(
        "[registration]\n\nmode = \"opened\"",
        4,
        "registration.mode",
        "`open`, `token`, `closed`",
    );
    refused(
        "[[listeners]]\naddress = \"localhost\"",
        3,
        "listeners.0.address",
        "address = \"127.0.0.1:8008\"",
    );
    refused(
        "[[listeners]]\nserves = [\"client\", \"everything\"]",
        3,
        "listeners.0.serves.1",
        "everything",
    );
    refused(
        "[[listeners]]\ntls = { certificate = \"a\" }",
        3,
        "listeners.0.tls",
        "missing field `key`",
    );
    refused(
        "[[listeners]]\ntrusted_proxies = [\"10.0.0.0/33\"]",
        3,
        "listeners.0.trusted_proxies",
        "range",
    );
    refused(
        "[database]\nurl = \"mysql://x\"",
        3,
        "database.url",
        "sqlite:PATH",
    );
}

#[test]
fn values_out_of_bounds() {
    refused("max_memory = \"256 MB\"", 2, "max_memory", "MiB");
    refused("max_memory = \"1KiB\"", 2, "max_memory", "at least 1MiB");
    refused("listeners = []", 2, "listeners", "at least one");
    refused(
        "[[listeners]]\n[[listeners]]\naddress = \"127.0.0.1:8008\"",
        4,
        "listeners.1.address",
        "own port",
    );
    refused(
        "[sessions]\naccess_token_seconds = 0",
        3,
        "sessions.access_token_seconds",
        "at least 1",
    );
    refused(
        "[passwords]\niterations = 0",
        3,
        "passwords.iterations",
        "at least 1",
    );
    refused(
        "[federation]\nbackoff_max_ms = 10",
        3,
        "federation.backoff_max_ms",
        "at least 1000",
    );
    refused(
        "[rooms]\ndefault_version = \"13\"",
        3,
        "rooms.default_version",
        "\"12\"",
    );
    refused(
        "[rooms]\ndefault_version = \"0\"",
        3,
        "rooms.default_version",
        "write one of \"1\", \"2\",",
    );
    refused(
        "[[listeners]]\nserves = []",
        3,
        "listeners.0.serves",
        "serves = [\"client\"]",
    );
    refused("[logging]\nfilter = \"loud\"", 3, "logging.filter", "debug");
    refused(
        "[rooms]\ndefault_version = \"012\"",
        3,
        "rooms.default_version",
        "\"12\"",
    );
    refused(
        "[smtp]\nhost = \"mail\"\nfrom = \"nobody\"",
        4,
        "smtp.from",
        "from = ",
    );
    refused(
        "[well_known]\nclient_base_url = \"example.org\"",
        3,
        "well_known.client_base_url",
        "https://",
    );
    refused(
        "[well_known]\nserver = \"https://example.org\"",
        3,
        "well_known.server",
        "443",
    );
}

#[test]
fn turn_servers_without_credentials_or_with_two_kinds() {
    refused(
        "[turn]\nuris = [\"turn:a\", \"stun:a\"]\nshared_secret = \"s\"",
        3,
        "turn.uris.1",
        "turn:turn.example.org",
    );
    refused(
        "[turn]\nuris = [\"turn:a\"]\nusername = \"u\"",
        3,
        "turn.uris",
        "password",
    );
    refused(
        "[turn]\nshared_secret = \"s\"\nusername = \"u\"",
        3,
        "turn.shared_secret",
        "either",
    );
    refused("[turn]\nttl_seconds = 0", 3, "turn.ttl_seconds", "86400");
}

#[test]
fn rates_out_of_bounds() {
    refused(
        "[rate_limits]\nmessages_per_second = 0",
        3,
        "rate_limits.messages_per_second",
        "enabled = false",
    );
    refused(
        "[rate_limits]\nlogins_burst = 0",
        3,
        "rate_limits.logins_burst",
        "at least 1",
    );
    refused(
        "[rate_limits]\nrequests_per_second = 1000001",
        3,
        "rate_limits.requests_per_second",
        "at most 1000000",
    );
    refused(
        "[rate_limits]\njoins_per_minute = -3",
        3,
        "rate_limits.joins_per_minute",
        "joins_per_minute = 30",
    );
}

#[test]
fn the_server_name_is_written_and_right() {
    let error = load(Some("data_dir = \"x\""), &[]).unwrap_err();
    assert_eq!(
        (error.place, error.key.as_str()),
        (Place::Default, "server_name")
    );
    let error = load(Some("server_name = \"http://example.org\""), &[]).unwrap_err();
    assert_eq!(
        (error.place, error.key.as_str()),
        (Place::Line(1), "server_name")
    );
    assert!(error.problem.contains("no URL"), "{}", error.problem);
    let long = format!("server_name = \"{}\"", vec!["a".repeat(57); 4].join("."));
    assert_eq!(load(Some(&long), &[]).unwrap_err().key, "server_name");
}

#[test]
fn paths_that_cannot_be_read() {
    refused(
        "[[listeners]]\ntls = { certificate = \"c\", key = \"missing.pem\" }",
        3,
        "listeners.0.tls.key",
        "put the file there",
    );
    refused(
        "[[listeners]]\ntls = { certificate = \"c\", key = \"other.pem\" }",
        3,
        "listeners.0.tls",
        "they do not belong together; name PEM files",
    );
    let error = file("[outbound]\nextra_ca_files = [\n  \"ca.pem\",\n  \"missing/ca.pem\",\n]")
        .unwrap_err();
    assert_eq!(
        (&error.place, error.key.as_str()),
        (&Place::Line(5), "outbound.extra_ca_files.1"),
        "{error}"
    );
    let error = file("[outbound]\nextra_ca_files = [\"empty.pem\"]").unwrap_err();
    assert_eq!(
        (&error.place, error.key.as_str()),
        (&Place::Line(3), "outbound.extra_ca_files.0"),
        "{error}"
    );
    assert!(error.to_string().contains("no certificate"), "{error}");
    // Nobody looks into it where no other server is asked.
    file("[federation]\nenabled = false\n[outbound]\nextra_ca_files = [\"empty.pem\"]").unwrap();
    let error = load(
        None,
        &[("STARLING__APPSERVICES__FILES", "[\"missing/irc.yaml\"]")],
    )
    .unwrap_err();
    assert_eq!(
        error.place,
        Place::Variable("STARLING__APPSERVICES__FILES".to_owned()),
        "{error}"
    );
}

#[test]
fn a_database_that_acknowledges_early() {
    let url = |options: &str| file(&format!("[database]\nurl = \"postgres://u@h/d{options}\""));
    for options in [
        "?options=-c%20synchronous_commit%3Doff",
        "?options=-c synchronous_commit=off",
        "?sslmode=require&options=--synchronous-commit=OFF",
        "?options=-c+synchronous_commit%3D%27off%27",
        "?options=-c%20synchronous_commit%3Don%20-c%20synchronous_commit%3Dfalse",
        "?options=-c%20Synchronous_Commit%3D0",
    ] {
        let error = url(options).expect_err(options);
        assert_eq!(
            (&error.place, error.key.as_str()),
            (&Place::Line(3), "database.url"),
            "{options}"
        );
    }
    for options in [
        "",
        "?sslmode=require",
        "?options=-c%20synchronous_commit%3Don",
        "?options=-c%20synchronous_commit%3Dremote_apply",
    ] {
        url(options).expect(options);
    }
}

#[test]
fn variables_are_named() {
    let refused = |name: &str, value: &str, message: &str| {
        let error = load(None, &[(name, value)]).expect_err(name);
        assert_eq!(error.place, Place::Variable(name.to_owned()));
        assert!(error.to_string().contains(message), "{error}");
    };
    refused("STARLING__COLOUR", "red", "no such key");
    refused(
        "STARLING__REGISTRATION__MOD",
        "open",
        "mode, shared_secret, guests",
    );
    refused(
        "STARLING__REGISTRATION__MODE",
        "opened",
        "mode = \"closed\"",
    );
    refused("STARLING__PASSWORDS__ITERATIONS", "two", "iterations = 2");
    refused(
        "STARLING__PASSWORDS__ITERATIONS",
        "2\nserver_name = 1",
        "not one value",
    );
    refused("STARLING__PASSWORDS__ITERATIONS", "0", "at least 1");
    refused(
        "STARLING__LISTENERS",
        "[{ adress = \"127.0.0.1:1\" }]",
        "no such key",
    );
    refused("STARLING__LISTENERS__ADDRESS", "127.0.0.1:1", "no such key");
    refused("STARLING__REGISTRATION", "true", "");
}

#[test]
fn errors_show_no_secret() {
    for text in [
        "[registration]\nshared_secret = 31415",
        "[database]\nurl = \"mysql://u:31415@h\"",
    ] {
        let error = file(text).unwrap_err();
        assert!(
            !error.to_string().contains("31415") && !format!("{error:?}").contains("31415"),
            "{error}"
        );
    }
}
