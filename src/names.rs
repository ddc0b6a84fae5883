//! What an agent may be called: one rule for the handshake, the configuration and what is kept.
//!
//! Must not know who is called so.

/// Bytes of an agent's name.
pub const NAME_LIMIT: usize = 64;

/// Whether a text can be the name of an agent, and of files of its own: 1 to 64 of
/// `A-Z a-z 0-9 _ . -`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=NAME_LIMIT).contains(&text.len()) && text.bytes().all(allowed)
}
