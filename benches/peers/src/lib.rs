//! The peers on the work of `tagtrail_benches::ours`. Each group is measured in a separate process, since most of them
//! set something for the whole process: a subscriber, a reporter, a tracer provider.

mod axum_tracing_opentelemetry;
mod fastrace;
mod opentelemetry;
mod reqwest;
mod tower_http;
mod tower_otel;
mod values;

pub use crate::fastrace::report;
pub use crate::opentelemetry::propagate;
pub use crate::tower_otel::subscribe;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tagtrail_benches::case::{Case, empty};
use tagtrail_benches::inputs::Head;
use tagtrail_benches::service::{Bare, drive, outgoing, request};

/// The groups.
pub const GROUPS: [&str; 7] =
    ["values", "tower-http", "fastrace", "opentelemetry", "axum-tracing-opentelemetry", "tower-otel", "reqwest"];

/// The cases of one group.
///
/// # Panics
///
/// If there is no such group.
#[must_use]
pub fn cases(group: &str) -> Vec<Case> {
    let mut cases = vec![empty()];
    cases.extend(match group {
        "values" => values::cases(),
        "tower-http" => tower_http::cases(),
        "fastrace" => fastrace::cases(),
        "opentelemetry" => opentelemetry::cases(),
        "axum-tracing-opentelemetry" => axum_tracing_opentelemetry::cases(),
        "tower-otel" => tower_otel::cases(),
        "reqwest" => reqwest::cases(),
        _ => panic!("no group has this name"),
    });
    cases
}

/// A request with an ordinary body.
fn arrived(head: &Head) -> Request<Full<Bytes>> {
    request(head, Full::default())
}

/// The two requests that a server layer is given.
fn heads() -> [(&'static str, Head); 2] {
    [("present", Head::present()), ("absent", Head::absent())]
}

/// What the service costs that a server layer is around.
fn bare_servers() -> impl Iterator<Item = Case> {
    heads()
        .into_iter()
        .map(|(name, head)| Case::new(format!("server-{name}-bare"), "bare", move || drive(&mut Bare, arrived(&head))))
}

/// What the service costs that a client layer is around.
fn bare_client() -> Case {
    Case::new("client-bare", "bare", || drive(&mut Bare, outgoing()))
}

/// Two cases: a server layer of `who`, made by `layer` around the bare service, over that service.
macro_rules! server {
    ($who:literal, $layered:expr) => {
        $crate::heads().map(|(name, head)| {
            let mut service = $layered;
            let run = move || tagtrail_benches::service::drive(&mut service, $crate::arrived(&head));
            Case::new(format!("server-{name}"), $who, run).over(&format!("server-{name}-bare"))
        })
    };
}
use server;

/// A case: a client layer of `who` around the bare service, over that service.
macro_rules! client {
    ($who:literal, $layered:expr) => {{
        let mut service = $layered;
        let run = move || {
            let request = tagtrail_benches::service::outgoing();
            tagtrail_benches::service::drive(&mut service, request)
        };
        Case::new("client-traceparent", $who, run).over("client-bare")
    }};
}
use client;
