//! The bodies of requests.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::export::NewExport;
use crate::model::export_status::ExportState;
use crate::model::scope::ExportScope;
use crate::model::time::{Timestamp, has_zone};
use crate::model::window::start_of;
use crate::server::export::error::ApiError;

/// How many bytes a body may have.
const LONGEST: usize = 64 << 10;
/// How long a range may be: 90 days, in microseconds.
const LONGEST_RANGE: i64 = 90 * 86_400 * 1_000_000;
/// How many exports a page of the list has at most.
const MOST: usize = 100;

/// Reads a body of JSON.
pub(super) async fn read<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    parse(&bytes(body).await?)
}

/// Reads a body of JSON, if there is one.
pub(super) async fn read_or_empty<T: DeserializeOwned + Default>(body: Body) -> Result<T, ApiError> {
    let bytes = bytes(body).await?;
    if bytes.is_empty() { Ok(T::default()) } else { parse(&bytes) }
}

async fn bytes(body: Body) -> Result<Bytes, ApiError> {
    let bytes = Limited::new(body, LONGEST).collect().await.map_err(|error| {
        ApiError::Invalid(if error.is::<LengthLimitError>() {
            "the request body is too large: at most 65,536 bytes are accepted"
        } else {
            "the request body was incomplete"
        })
    })?;
    Ok(bytes.to_bytes())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|_| {
        ApiError::Invalid("the request body must be a JSON object whose members have the documented types")
    })
}

/// The body of a request for an export.
#[derive(Deserialize)]
pub(super) struct Request {
    #[serde(alias = "regionGroup")]
    region_group: Option<String>,
    database: Option<String>,
    time_start: Option<String>,
    time_end: Option<String>,
    idempotency_token: Option<String>,
}

impl Request {
    pub(super) fn export(&self) -> Result<NewExport, ApiError> {
        let (time_start, time_end) = (
            moment(
                self.time_start.as_deref(),
                "time_start must be an ISO 8601 time with a zone, e.g. 2024-05-10T18:05:42Z",
            )?,
            moment(
                self.time_end.as_deref(),
                "time_end must be an ISO 8601 time with a zone, e.g. 2024-05-10T18:05:42Z",
            )?,
        );
        match time_end.as_micros() - time_start.as_micros() {
            ..=0 => return Err(ApiError::Invalid("time_end must be after time_start")),
            1..=LONGEST_RANGE => {}
            _ => return Err(ApiError::Invalid("time_end must be at most 90 days after time_start")),
        }
        let token = self.idempotency_token.as_deref().map(Uuid::try_parse).transpose();
        let token = token.map_err(|_| ApiError::Invalid("idempotency_token must be a UUID"))?;
        Ok(NewExport { scope: self.scope()?, time_start, time_end, token })
    }

    fn scope(&self) -> Result<ExportScope, ApiError> {
        let (text, is_database, expected) = match (&self.database, &self.region_group) {
            (Some(text), _) => (text, true, "database must be a region group and a path, such as us-std/ECommerce"),
            (None, Some(text)) => (text, false, "region_group must be a name, such as us-std"),
            (None, None) => return Err(ApiError::Invalid("region_group or database is required")),
        };
        let scope = text.parse().ok().filter(|scope: &ExportScope| scope.database().is_empty() != is_database);
        scope.ok_or(ApiError::Invalid(expected))
    }
}

/// Returns the first microsecond that is not before a moment: both ends of a range are that.
fn moment(text: Option<&str>, expected: &'static str) -> Result<Timestamp, ApiError> {
    text.filter(|text| has_zone(text)).and_then(|text| start_of(text).ok()).ok_or(ApiError::Invalid(expected))
}

/// The body of a request for a list.
#[derive(Default, Deserialize)]
pub(super) struct List {
    states: Option<Vec<String>>,
    pub(super) next_token: Option<String>,
    max_results: Option<u64>,
}

impl List {
    /// Returns the states, each once, in one order; none for all.
    pub(super) fn states(&self) -> Result<Vec<ExportState>, ApiError> {
        let states = self.states.iter().flatten().map(|state| state.parse()).collect::<Result<Vec<_>, _>>();
        let states = states.map_err(|_| {
            ApiError::Invalid(
                "states must be among Pending, Requested, Complete, DoesNotExist, Failed, TimedOut and CreatingNewUrl",
            )
        })?;
        Ok(ExportState::ALL.iter().copied().filter(|state| states.contains(state)).collect())
    }

    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        match self.max_results {
            None => Ok(MOST),
            Some(0) => Err(ApiError::Invalid("max_results must be at least 1")),
            Some(limit) => Ok(usize::try_from(limit).map_or(MOST, |limit| limit.min(MOST))),
        }
    }
}
