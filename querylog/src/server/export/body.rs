//! What the bodies of requests ask for.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::answer::Problem;
use crate::export::Asked;
use crate::model::export_status::ExportState;
use crate::model::scope::ExportScope;
use crate::model::time::{Timestamp, has_zone};
use crate::model::window::start_of;

/// How many bytes a body may have.
const LONGEST: usize = 64 << 10;
/// How long a range may be: 90 days, in microseconds.
const LONGEST_RANGE: i64 = 90 * 86_400 * 1_000_000;
/// How many exports a page of the list has at most.
const MOST: usize = 100;

/// Reads a body of JSON.
pub(super) async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    parse(&bytes(body).await?)
}

/// The same, where there may be none.
pub(super) async fn read_or_empty<T: DeserializeOwned + Default>(body: Body) -> Result<T, Problem> {
    let bytes = bytes(body).await?;
    if bytes.is_empty() { Ok(T::default()) } else { parse(&bytes) }
}

async fn bytes(body: Body) -> Result<Bytes, Problem> {
    let bytes = Limited::new(body, LONGEST).collect().await.map_err(|error| {
        Problem::Bad(if error.is::<LengthLimitError>() {
            "the body is too large: it may have 65,536 bytes"
        } else {
            "the body did not come whole"
        })
    })?;
    Ok(bytes.to_bytes())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|_| Problem::Bad("the body is to be a JSON object, whose members have the documented types"))
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
    pub(super) fn asked(&self) -> Result<Asked, Problem> {
        let (time_start, time_end) = (
            moment(
                self.time_start.as_deref(),
                "time_start is to be a time in ISO 8601 with its zone: 2024-05-10T18:05:42Z",
            )?,
            moment(
                self.time_end.as_deref(),
                "time_end is to be a time in ISO 8601 with its zone: 2024-05-10T18:05:42Z",
            )?,
        );
        match time_end.as_micros() - time_start.as_micros() {
            ..=0 => return Err(Problem::Bad("time_end is to be after time_start")),
            1..=LONGEST_RANGE => {}
            _ => return Err(Problem::Bad("time_end is to be at most 90 days after time_start")),
        }
        let token = self.idempotency_token.as_deref().map(Uuid::try_parse).transpose();
        let token = token.map_err(|_| Problem::Bad("idempotency_token is to be a UUID"))?;
        Ok(Asked { scope: self.scope()?, time_start, time_end, token })
    }

    fn scope(&self) -> Result<ExportScope, Problem> {
        let (text, is_database, wrong) = match (&self.database, &self.region_group) {
            (Some(text), _) => {
                (text, true, "database is to be a path behind its region group, such as us-std/ECommerce")
            }
            (None, Some(text)) => (text, false, "region_group is to be a name, such as us-std"),
            (None, None) => return Err(Problem::Bad("region_group or database is needed")),
        };
        let scope = text.parse().ok().filter(|scope: &ExportScope| scope.database().is_empty() != is_database);
        scope.ok_or(Problem::Bad(wrong))
    }
}

/// The first microsecond that is not before a moment: both ends of a range are that.
fn moment(text: Option<&str>, wrong: &'static str) -> Result<Timestamp, Problem> {
    text.filter(|text| has_zone(text)).and_then(|text| start_of(text).ok()).ok_or(Problem::Bad(wrong))
}

/// The body of a request for a list.
#[derive(Default, Deserialize)]
pub(super) struct List {
    states: Option<Vec<String>>,
    pub(super) next_token: Option<String>,
    max_results: Option<u64>,
}

impl List {
    /// The states, each once, in one order; none for all.
    pub(super) fn states(&self) -> Result<Vec<ExportState>, Problem> {
        let states = self.states.iter().flatten().map(|state| state.parse()).collect::<Result<Vec<_>, _>>();
        let states = states.map_err(|_| {
            Problem::Bad("states are Pending, Requested, Complete, DoesNotExist, Failed, TimedOut and CreatingNewUrl")
        })?;
        Ok(ExportState::ALL.iter().copied().filter(|state| states.contains(state)).collect())
    }

    pub(super) fn limit(&self) -> Result<usize, Problem> {
        match self.max_results {
            None => Ok(MOST),
            Some(0) => Err(Problem::Bad("max_results is to be 1 at the least")),
            Some(limit) => Ok(usize::try_from(limit).map_or(MOST, |limit| limit.min(MOST))),
        }
    }
}
