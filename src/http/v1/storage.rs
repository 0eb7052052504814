//! `/v1/storage`: what is only on this broker's disk, what is on its way, what is in the bucket.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;

use super::super::{Shown, survey::Bucket};

#[derive(Serialize)]
struct Storage {
    wal: Wal,
    /// WAL bytes on their way to the bucket.
    uploading_bytes: i64,
    bucket_url: String,
    bucket: Bucket,
}

/// What the bucket lacks.
#[derive(Serialize)]
struct Wal {
    bytes: i64,
    budget_bytes: i64,
    /// Age of the oldest of it.
    oldest_seconds: f64,
}

pub(super) async fn storage(State(shown): State<Arc<Shown>>) -> Json<impl Serialize> {
    let meters = (shown.faces.meters)();
    let survey = shown.survey.recent().await;
    Json(Storage {
        wal: Wal {
            bytes: meters.wal_bytes,
            budget_bytes: meters.wal_budget_bytes,
            oldest_seconds: meters.wal_age_seconds,
        },
        uploading_bytes: meters.uploading_bytes,
        bucket_url: shown.faces.bucket.clone(),
        bucket: survey.bucket.clone(),
    })
}
