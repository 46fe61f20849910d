//! The keys that sign page tokens and download URLs.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit};
use sha2::Sha256;

/// Creates a signer. Its key is derived from a store's secret by HKDF (RFC 5869), so that each purpose has its own key.
pub(crate) fn signing(secret: &[u8; 32], purpose: &[u8]) -> Hmac<Sha256> {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, secret).expand(purpose, &mut key).expect("HKDF-SHA-256 yields up to 8,160 bytes");
    Hmac::new_from_slice(&key).expect("HMAC accepts keys of any length")
}

#[cfg(test)]
mod tests {
    use hmac::Mac;

    use super::*;

    fn signature(secret: [u8; 32], purpose: &[u8]) -> Vec<u8> {
        signing(&secret, purpose).chain_update("text").finalize().into_bytes().to_vec()
    }

    #[test]
    fn keys_differ_by_secret_and_by_purpose() {
        let one = signature([7; 32], b"page tokens");
        assert_eq!(one, signature([7; 32], b"page tokens"));
        assert_ne!(one, signature([8; 32], b"page tokens"));
        assert_ne!(one, signature([7; 32], b"page token"));
        assert_ne!(one, signature([7; 32], b"page tokens\0"));
    }
}
