//! Log lines about bad clients.
//!
//! Owns: their words, and how much of a name that a client chose they show. Does not own: how many
//! there are: the log leaves out what is too many and counts it (`cli/log`).

use std::{fmt::Display, net::IpAddr};

use super::error::NO_TRANSACTIONS_TEXT;

/// Characters of a client's name that a log line shows: it may send 32 KiB of them.
const LOGGED_CHARS: usize = 200;

/// Says that a client's request was bad.
pub(super) fn bad_request(client: IpAddr, client_id: &str, error: &dyn Display) {
    let client_id = shown(client_id);
    tracing::warn!(%client, %client_id, %error, "bad request, connection closed");
}

/// Says that a client wanted transactions.
pub(super) fn refused_transaction(client: IpAddr, client_id: &str, id: &str) {
    let (client_id, id) = (shown(client_id), shown(id));
    tracing::warn!(%client, %client_id, %id, "transactional.id refused: {NO_TRANSACTIONS_TEXT}");
}

/// What a log line shows of a name that a client chose.
fn shown(name: &str) -> String {
    name.chars().take(LOGGED_CHARS).collect::<String>().escape_debug().to_string()
}
