//! Signing keys and their files.

use starling_events::{KeyError, SigningKey, VerifyingKey, keys::KeyValidity, unpadded_base64};

use crate::support::{SEED, key};

#[test]
fn file_round_trip() {
    let key = SigningKey::generate([7; 32], "a_B1").unwrap();
    let file = key.to_file();
    assert_eq!(
        file,
        format!("ed25519 a_B1 {}\n", unpadded_base64::encode(&[7; 32]))
    );
    let again = SigningKey::parse(&file).unwrap();
    assert_eq!((again.key_id(), again.version()), ("ed25519:a_B1", "a_B1"));
    assert_eq!(again.verifying_key(), key.verifying_key());
    assert_eq!(again.sign(b"x"), key.sign(b"x"));
}

#[test]
fn bad_files() {
    for (file, error) in [
        ("", KeyError::NotAKeyLine),
        ("ed25519 1", KeyError::NotAKeyLine),
        ("rsa 1 AAAA", KeyError::NotAKeyLine),
        (&format!("ed25519 1 {SEED} x"), KeyError::NotAKeyLine),
        (&format!("ed25519 a:b {SEED}"), KeyError::Version),
        (&format!("ed25519 é {SEED}"), KeyError::Version),
        ("ed25519 1 AAAA", KeyError::Length),
        ("ed25519 1 !!!!", KeyError::Length),
    ] {
        assert_eq!(SigningKey::parse(file).unwrap_err(), error, "{file}");
    }
    assert_eq!(
        SigningKey::generate([0; 32], "").unwrap_err(),
        KeyError::Version
    );
    assert!(
        SigningKey::parse(&format!("ed25519 1 {SEED}=")).is_ok(),
        "padding is allowed"
    );
}

#[test]
fn debug_hides_the_secret() {
    assert_eq!(
        format!("{:?}", key()),
        r#"SigningKey { key_id: "ed25519:1", .. }"#
    );
}

#[test]
fn public_keys() {
    let public = key().verifying_key();
    assert_eq!(VerifyingKey::from_base64(&public.to_base64()), Ok(public));
    assert_eq!(VerifyingKey::from_bytes(&[0; 31]), Err(KeyError::Length));
    assert_eq!(VerifyingKey::from_base64("%"), Err(KeyError::Length));
    let mut not_a_point = [0; 32];
    not_a_point[0] = 2;
    assert_eq!(
        VerifyingKey::from_bytes(&not_a_point),
        Err(KeyError::NotAPoint)
    );
}

#[test]
fn lenient_base64() {
    assert_eq!(unpadded_base64::decode("Zg==").unwrap(), b"f");
    assert_eq!(unpadded_base64::decode("Zg=").unwrap(), b"f");
    assert_eq!(
        unpadded_base64::decode("Zh").unwrap(),
        b"f",
        "bits are left over"
    );
    for bad in ["Z", "Zg===", "Z=g", "Zm9v\n", " Zm9v", "Zm9é"] {
        assert_eq!(unpadded_base64::decode(bad), None, "{bad:?}");
    }
    assert_eq!(unpadded_base64::encode(&[0xfb, 0xff]), "+/8");
    assert_eq!(unpadded_base64::encode_url_safe(&[0xfb, 0xff]), "-_8");
    assert_eq!(unpadded_base64::decode("-_8"), None);
    assert_eq!(unpadded_base64::decode_either("-_8").unwrap(), [0xfb, 0xff]);
    assert_eq!(unpadded_base64::decode_either("+/8").unwrap(), [0xfb, 0xff]);
    assert_eq!(unpadded_base64::decode_either("+_8"), None);
}

#[test]
fn validity() {
    let (end, now) = (1_000_000, 900_000);
    let current = KeyValidity::current(end, now);
    assert_eq!(current, KeyValidity::Until(end));
    for validity in [current, KeyValidity::ExpiredAt(end)] {
        assert!(validity.covers(i64::MIN));
        assert!(validity.covers(end), "\"at least as large\"");
        assert!(!validity.covers(end + 1));
    }
    let week = 7 * 24 * 3600 * 1000;
    for far in [now + week, now + week + 1, i64::MAX] {
        let capped = KeyValidity::current(far, now);
        assert_eq!(capped, KeyValidity::Until(now + week));
    }
    assert_eq!(
        KeyValidity::current(i64::MAX, i64::MAX),
        KeyValidity::Until(i64::MAX)
    );
}
