//! Files by URLs of our own: whole, or a part, in constant memory.

use axum::body::Body;
use axum::response::Response;
use futures_util::TryStreamExt;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE,
    RANGE,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use object_store::{GetOptions, GetRange};

use crate::export::{ExportService, InvalidLink};
use crate::server::export::error::ApiError;
use crate::server::response::ServerError;

const NO_FILE: &str = "the file no longer exists; request the export again";

/// Responds with a file whose URL is valid.
pub(super) async fn respond(exports: &ExportService, head: &Parts, name: &str) -> Result<Response, ApiError> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(ApiError::Method("GET, HEAD"));
    }
    exports.check_link(name, head.uri.query().unwrap_or_default()).map_err(|invalid| {
        ApiError::Forbidden(match invalid {
            InvalidLink::Damaged => "invalid URL: use presigned_url of the export unchanged",
            InvalidLink::Expired => "this URL has expired; GET the export again for a new one",
        })
    })?;
    // A file never changes, so its name identifies it.
    let tag = HeaderValue::try_from(format!("\"{name}\"")).map_err(|_| ApiError::NotFound(NO_FILE))?;
    let same = head.headers.get(IF_RANGE).is_none_or(|asked| *asked == tag);
    let range = head.headers.get(RANGE).filter(|_| same && head.method == Method::GET).and_then(range);
    let options = GetOptions { range: range.clone(), head: head.method == Method::HEAD, ..GetOptions::default() };
    let found = match exports.read(name, options).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Err(ApiError::NotFound(NO_FILE)),
        Err(error) => {
            return Err(match range {
                Some(range) => beyond(exports, name, &range, &error).await,
                None => failed(&error),
            });
        }
    };
    if found.range.is_empty() && range.is_some() {
        return Err(ApiError::Range(found.meta.size));
    }
    let (bytes, size) = (found.range.clone(), found.meta.size);
    let whole = head.method == Method::HEAD || range.is_none();
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ETAG, tag);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(if whole { size } else { bytes.end - bytes.start }));
    let attached = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
    headers.extend(attached.ok().map(|attached| (CONTENT_DISPOSITION, attached)));
    if !whole {
        let part = HeaderValue::try_from(format!("bytes {}-{}/{size}", bytes.start, bytes.end.saturating_sub(1)));
        headers.extend(part.ok().map(|part| (CONTENT_RANGE, part)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if head.method == Method::GET {
        let file = found
            .into_stream()
            .inspect_err(|error| tracing::error!(%error, "export: failed to read the rest of a file"));
        *response.body_mut() = Body::from_stream(file);
    }
    Ok(response)
}

/// Reads the range of a request, if it is a single one. A server may ignore all others.
fn range(asked: &HeaderValue) -> Option<GetRange> {
    let (first, last) = asked.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match (first, last) {
        ("", last) => number(last).map(GetRange::Suffix),
        (first, "") => number(first).map(GetRange::Offset),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| GetRange::Bounded(first..last.saturating_add(1)))
        }
    }
}

/// Finds out why a range was not read: it may be after the end of the file.
async fn beyond(exports: &ExportService, name: &str, range: &GetRange, error: &object_store::Error) -> ApiError {
    match exports.read(name, GetOptions { head: true, ..GetOptions::default() }).await {
        Ok(found) if range.as_range(found.meta.size).is_err() => ApiError::Range(found.meta.size),
        Ok(_) => failed(error),
        Err(object_store::Error::NotFound { .. }) => ApiError::NotFound(NO_FILE),
        Err(error) => failed(&error),
    }
}

fn failed(error: &object_store::Error) -> ApiError {
    tracing::error!(%error, "export: failed to read a file");
    ServerError::Failed.into()
}
