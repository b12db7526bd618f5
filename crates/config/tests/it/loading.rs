//! Values that are accepted, and where they end up.

use std::path::Path;

use starling_config::{Config, DatabaseUrl, LogFormat, RegistrationMode, Serves};

use crate::{file, load};

#[test]
fn without_a_file_the_development_profile_holds() {
    let config = load(None, &[]).unwrap();
    assert_eq!(config.server_name.as_str(), "localhost");
    assert_eq!(config.registration.mode, RegistrationMode::Open);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8008");
    assert_eq!(
        config.database.url.path(),
        Some(Path::new("/srv/starling/data/starling.db"))
    );
}

#[test]
fn a_file_keeps_registration_closed() {
    let config = file("").unwrap();
    assert_eq!(config.registration.mode, RegistrationMode::Closed);
    assert_eq!(config.server_name.as_str(), "example.org");
}

#[test]
fn what_lies_in_the_data_folder_moves_with_it() {
    let config = file("data_dir = \"/var/lib/starling\"").unwrap();
    assert_eq!(
        config.signing_key_path,
        Path::new("/var/lib/starling/signing.key")
    );
    assert_eq!(
        config.database.url.path(),
        Some(Path::new("/var/lib/starling/starling.db"))
    );
    let config =
        file("data_dir = \"d\"\nsigning_key_path = \"keys/k\"\n[database]\nurl = \"sqlite:x.db\"")
            .unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/starling/d"));
    assert_eq!(config.signing_key_path, Path::new("/srv/starling/keys/k"));
    assert_eq!(
        config.database.url.path(),
        Some(Path::new("/srv/starling/x.db"))
    );
}

#[test]
fn several_listeners_plain_and_tls() {
    let config = file(
        r#"[[listeners]]
address = "0.0.0.0:8448"
serves = ["federation", "admin"]
tls = { certificate = "cert.pem", key = "key.pem" }
[[listeners]]
address = "[::1]:8008"
trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]"#,
    )
    .unwrap();
    assert_eq!(
        config.listeners[0].serves,
        [Serves::Federation, Serves::Admin]
    );
    assert_eq!(
        config.listeners[0].tls.as_ref().unwrap().key,
        Path::new("/srv/starling/key.pem")
    );
    assert_eq!(
        config.listeners[1].serves,
        [Serves::Client, Serves::Federation, Serves::Web]
    );
    let trusts = |address: &str| {
        let address = address.parse().unwrap();
        config.listeners[1]
            .trusted_proxies
            .iter()
            .any(|network| network.contains(address))
    };
    assert!(trusts("10.200.3.4") && trusts("127.0.0.1") && trusts("::ffff:10.0.0.1"));
    assert!(!trusts("11.0.0.1") && !trusts("127.0.0.2") && !trusts("::1"));
}

#[test]
fn variables_win_over_the_file() {
    let config = load(
        Some("server_name = \"example.org\"\n[registration]\nmode = \"closed\"\n[passwords]\niterations = 3"),
        &[
            ("STARLING__SERVER_NAME", "other.example"),
            ("STARLING__REGISTRATION__MODE", "open"),
            ("STARLING__PASSWORDS__MEMORY_KIB", "8"),
            ("STARLING__LISTENERS", "[{ address = \"127.0.0.1:1\", serves = [\"client\"] }]"),
            ("STARLING__FEDERATION__TRUSTED_KEY_SERVERS", "[\"a.example\", \"b.example:1\"]"),
            ("STARLING__LOGGING", "{ format = \"json\" }"),
            ("STARLING__DATA_DIR", "elsewhere"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(config.server_name.as_str(), "other.example");
    assert_eq!(config.registration.mode, RegistrationMode::Open);
    assert_eq!(
        (config.passwords.memory_kib, config.passwords.iterations),
        (8, 3)
    );
    assert_eq!(config.listeners[0].address.port(), 1);
    assert_eq!(
        config.federation.trusted_key_servers[1].as_str(),
        "b.example:1"
    );
    assert_eq!(config.logging.format, LogFormat::Json);
    assert_eq!(
        config.signing_key_path,
        Path::new("/srv/starling/elsewhere/signing.key")
    );
}

#[test]
fn a_section_set_by_a_variable_says_only_what_stands_in_it() {
    let config = load(None, &[("STARLING__REGISTRATION", "{ guests = true }")]).unwrap();
    assert_eq!(
        (config.registration.mode, config.registration.guests),
        (RegistrationMode::Open, true)
    );
    let outside = ("STARLING__LISTENERS", "[{ address = \"0.0.0.0:2\" }]");
    load(
        None,
        &[outside, ("STARLING__REGISTRATION", "{ guests = true }")],
    )
    .unwrap_err();
}

#[test]
fn a_variable_may_hold_any_text_as_a_string() {
    let config = load(
        None,
        &[("STARLING__REGISTRATION__SHARED_SECRET", "a\"b]=\n1")],
    )
    .unwrap();
    assert_eq!(config.registration.shared_secret.expose(), "a\"b]=\n1");
}

#[test]
fn nothing_secret_is_shown() {
    let config = file(
        "[registration]\nshared_secret = \"hunter2\"\n[database]\nurl = \"postgres://u:swordfish@db/starling\"",
    )
    .unwrap();
    assert_eq!(config.registration.shared_secret.expose(), "hunter2");
    assert!(
        matches!(&config.database.url, DatabaseUrl::Postgres(url) if url.expose().contains("swordfish"))
    );
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("swordfish"),
        "{shown}"
    );
}

#[test]
fn open_registration_stays_on_this_machine_unless_it_is_said() {
    let outside = (
        "STARLING__LISTENERS",
        "[{ address = \"127.0.0.1:1\" }, { address = \"0.0.0.0:2\" }]",
    );
    let error = load(None, &[outside]).unwrap_err();
    assert_eq!(error.key, "listeners.1.address");
    assert!(
        error
            .to_string()
            .starts_with("variable STARLING__LISTENERS: listeners.1.address: "),
        "{error}"
    );
    load(None, &[outside, ("STARLING__REGISTRATION__MODE", "open")]).unwrap();
    load(
        None,
        &[outside, ("STARLING__REGISTRATION", "{ mode = \"open\" }")],
    )
    .unwrap();
    load(None, &[outside, ("STARLING__REGISTRATION__MODE", "closed")]).unwrap();
    file("[registration]\nmode = \"open\"\n[[listeners]]\naddress = \"0.0.0.0:8008\"").unwrap();
}

#[test]
fn a_setting_without_effect_gives_one_warning() {
    let warnings = |text: &str| file(text).unwrap().warnings();
    let keys = |text: &str| -> Vec<String> {
        warnings(text)
            .iter()
            .map(|line| line.split(':').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(keys(""), Vec::<String>::new());
    assert_eq!(
        keys("[smtp]\nhost = \"mail\"\nfrom = \"a@b\"\n[registration]\nguests = true"),
        ["smtp.host", "smtp.from"]
    );
    let secret = "[registration]\nshared_secret = \"s\"\n";
    assert_eq!(keys(secret), ["registration.shared_secret"]);
    let admin = format!("{secret}[[listeners]]\nserves = [\"client\", \"admin\"]");
    assert_eq!(keys(&admin), Vec::<String>::new());
    let words = warnings("[[listeners]]\nserves = [\"client\", \"identity\", \"federation\"]");
    let about = "listeners.serves: \"identity\" is accepted, but not built yet";
    assert_eq!(words, [about]);
    // Nor does anybody who adds to the default hear of what is in it.
    let more = "[[listeners]]\nserves = [\"client\", \"federation\", \"web\", \"metrics\"]";
    assert_eq!(warnings(more), Vec::<String>::new());
    assert_eq!(Config::default().warnings(), Vec::<String>::new());
}

#[test]
fn a_name_that_no_new_server_may_have_is_warned_of() {
    let named = |name: &str| load(Some(&format!("server_name = \"{name}\"")), &[]).unwrap();
    for (name, fix) in [
        ("Example.org", "write \"example.org\""),
        ("[::A]:8448", "write \"[::a]:8448\""),
        ("example..org", "in the DNS"),
        ("example.org.", "in the DNS"),
        ("-example.org", "in the DNS"),
        ("example-.org:8448", "in the DNS"),
        (&format!("{}.org", "a".repeat(64)), "in the DNS"),
    ] {
        let config = named(name);
        let why = config.unfit_name().unwrap();
        let (problem, _) = why.split_once("; ").unwrap();
        assert!(
            problem.starts_with("server_name: ") && why.contains(fix),
            "{why}"
        );
        // Whoever has the name already must not follow the advice.
        let warnings = config.warnings();
        let [warning] = warnings.as_slice() else {
            panic!("{warnings:?}")
        };
        assert!(
            warning.starts_with(problem) && !warning.contains(fix),
            "{warning}"
        );
    }
    for name in [
        "example.org:8448",
        "10.1.2.3",
        "[::a]:8448",
        "localhost",
        "a--b.c-d.example",
    ] {
        let config = named(name);
        assert_eq!(
            (config.unfit_name(), config.warnings()),
            (None, Vec::new()),
            "{name}"
        );
    }
}

#[test]
fn a_server_that_others_reach_by_a_proxy_at_most_is_noted() {
    let notes = |text: &str| file(text).unwrap().notes();
    let proxied = notes("");
    assert_eq!(proxied.len(), 1);
    assert!(
        proxied
            .concat()
            .contains("passes them on to 127.0.0.1:8008"),
        "{proxied:?}"
    );
    let none = notes("[[listeners]]\naddress = \"0.0.0.0:8008\"\nserves = [\"client\"]");
    assert!(
        none.concat().contains("no listener serves \"federation\""),
        "{none:?}"
    );
    for fine in [
        "[federation]\nenabled = false",
        "[[listeners]]\naddress = \"0.0.0.0:8448\"\nserves = [\"federation\"]\n[[listeners]]",
    ] {
        assert_eq!(notes(fine), Vec::<String>::new(), "{fine}");
    }
}
