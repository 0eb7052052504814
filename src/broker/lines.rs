//! The lines a person reads when a broker starts: where everything is, what an ack means, how to
//! try it.

use std::{net::SocketAddr, path::Path, time::Duration};

use crate::{config::Config, store::BucketUrl};

pub(super) fn start(config: &Config, url: &BucketUrl, http: SocketAddr, say: &dyn Fn(&str)) {
    let (host, port) = &config.kafka_advertise;
    say(&format!("strandline {}", env!("CARGO_PKG_VERSION")));
    match url {
        BucketUrl::Folder(folder) => say(&format!("  bucket  {} (a folder)", whole(folder))),
        other => say(&format!("  bucket  {other}")),
    }
    say(&format!("  wal     {}", whole(&config.wal_dir)));
    say(&format!("  kafka   {} (clients are told {host}:{port})", config.kafka_listen));
    let shown = if config.web { "the page at / " } else { "" };
    say(&format!("  http    http://{http}  {shown}/healthz /readyz /metrics /v1"));
    if *url == BucketUrl::Memory {
        say("  memory:// lives and dies with this process: nothing is kept");
    }
    say(&format!("  access  {}", access(config, http)));
}

/// Whether only this machine can connect.
pub(super) fn is_private(config: &Config, http: SocketAddr) -> bool {
    config.kafka_listen.ip().is_loopback() && http.ip().is_loopback()
}

/// Who can connect, in one line.
pub(super) fn access(config: &Config, http: SocketAddr) -> String {
    if is_private(config, http) {
        return "programs on this machine only".to_owned();
    }
    let open = [config.kafka_listen, http].into_iter().filter(|it| !it.ip().is_loopback());
    let open: Vec<_> = open.map(|address| address.to_string()).collect();
    format!(
        "whoever reaches {} can read and change everything: there is no TLS and no password yet",
        open.join(" or ")
    )
}

pub(super) fn ready(config: &Config, took: Duration, say: &dyn Fn(&str)) {
    let (host, port) = &config.kafka_advertise;
    say(&format!("serving after {} ms", took.as_millis()));
    say(&format!(
        "  an ack means: one synced copy on this disk, until it is in the bucket (about {} s later)",
        config.roll_after.as_secs().max(1)
    ));
    say(&format!("  try:  echo hello | kcat -P -b {host}:{port} -t tide"));
    say(&format!("        kcat -C -b {host}:{port} -t tide -o beginning -e"));
}

/// A path that still says where it is in another folder.
fn whole(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let whole: std::path::PathBuf = whole.components().collect();
    whole.display().to_string()
}
