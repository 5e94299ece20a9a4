//! TLS, built when a secured relay is first talked to: it takes some 18 ms and a megabyte, which a relay on this
//! machine never needs.

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::{Arc, OnceLock};

static SECURED: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();

/// What a client of a relay with this URL needs.
pub fn of(secured: bool) -> Result<ClientConfig, String> {
    if secured { self::secured().map(|config| (*config).clone()) } else { none() }
}

/// The configuration for `https` and `wss`, with the certificates that this machine trusts.
pub(crate) fn secured() -> Result<Arc<ClientConfig>, String> {
    SECURED.get_or_init(|| build().map(Arc::new).map_err(|e| format!("TLS cannot be set up: {e}"))).clone()
}

fn build() -> Result<ClientConfig, rustls::Error> {
    Ok(ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth())
}

/// A configuration that trusts nobody: for clients that never speak TLS but whose library wants one.
pub(crate) fn none() -> Result<ClientConfig, String> {
    Ok(ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS cannot be set up: {e}"))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}
