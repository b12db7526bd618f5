//! Files of authorities.

use starling_outbound::{TlsError, TlsOptions, tls_config};
use tempfile::TempDir;

use crate::support::Authority;

fn with(path: std::path::PathBuf) -> Result<rustls::ClientConfig, TlsError> {
    tls_config(&TlsOptions {
        extra_ca_files: vec![path],
        trusts_all: false,
    })
}

#[test]
fn files_of_authorities_must_hold_one() {
    let authority = Authority::new();
    assert!(with(authority.file()).is_ok());
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("ca.pem");
    assert!(matches!(with(path.clone()), Err(TlsError::File { .. })));
    std::fs::write(&path, "nothing").expect("a file");
    assert!(matches!(with(path), Err(TlsError::NoAuthority(_))));
}
