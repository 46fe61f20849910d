//! Two services and a client on loopback: `cargo run --example demo`.
//!
//! The client asks the gateway, and the gateway asks the backend. For each request the program prints what was sent,
//! what each service saw, and what came back, and it fails if any of that is wrong.

use std::error::Error;
use std::net::SocketAddr;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde_json::{Value, json};
use tagtrail::{Admit, Disclose, InboundLayer, OutboundMiddleware, TraceParent, Trail};
use tokio::net::TcpListener;

const OURS: [&str; 3] = ["traceparent", "tracestate", "x-fauna-tags"];
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
/// The gateway goes on with the traces of callers who know this.
const KEY: (&str, &str) = ("x-gateway-key", "open sesame");

type Headers = &'static [(&'static str, &'static str)];

/// What the client sends, and what has to come of it.
struct Case {
    title: &'static str,
    sent: Headers,
    status: u16,
    trace_goes_on: bool,
    tracestate: &'static str,
    tags: &'static str,
}

const CASES: &[Case] = &[
    Case {
        title: "1. No headers of ours: the gateway starts a trace, and the answer names it.",
        sent: &[],
        status: 200,
        trace_goes_on: false,
        tracestate: "",
        tags: "",
    },
    Case {
        title: "2. A trace with tracestate and tags, from a caller that the gateway trusts: all of it goes on.",
        sent: &[
            KEY,
            ("traceparent", TRACEPARENT),
            ("tracestate", "congo=t61rcWkgMzE"),
            ("x-fauna-tags", "project=blog,env=prod"),
        ],
        status: 200,
        trace_goes_on: true,
        tracestate: "congo=t61rcWkgMzE",
        tags: "project=blog,env=prod",
    },
    Case {
        title: "3. An invalid traceparent is no error: a new trace takes its place, and its tracestate goes. Tags stay.",
        sent: &[
            KEY,
            ("traceparent", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"),
            ("tracestate", "congo=t61rcWkgMzE"),
            ("x-fauna-tags", "project=blog"),
        ],
        status: 200,
        trace_goes_on: false,
        tracestate: "",
        tags: "project=blog",
    },
    Case {
        title: "4. Bad tags are refused before the handler runs: a 400 that says where, with the trace on it.",
        sent: &[KEY, ("traceparent", TRACEPARENT), ("x-fauna-tags", "project=my blog")],
        status: 400,
        trace_goes_on: true,
        tracestate: "",
        tags: "",
    },
    Case {
        title: "5. A trace from a caller that the gateway does not trust: restarted, so that nobody can write into yours.",
        sent: &[("traceparent", TRACEPARENT), ("tracestate", "congo=t61rcWkgMzE"), ("x-fauna-tags", "project=blog")],
        status: 200,
        trace_goes_on: false,
        tracestate: "",
        tags: "project=blog",
    },
];

/// What a service received, and what it knows of the request.
fn seen(headers: &HeaderMap, trail: &Trail) -> Value {
    let received: Vec<_> = OURS
        .iter()
        .filter_map(|&name| Some(format!("{name}: {}", headers.get(name)?.to_str().unwrap_or("no text"))))
        .collect();
    json!({
        "received": received,
        "trace": trail.trace_id().to_string(),
        "operation": trail.operation_id().to_string(),
        "caller": trail.caller().map(|id| id.to_string()),
        "tracestate": trail.tracestate().as_str(),
        "tags": trail.tags().as_str(),
    })
}

/// The backend trusts its callers: they are services of ours.
fn backend() -> Router {
    let handler = |trail: Trail, headers: HeaderMap| async move { Json(seen(&headers, &trail)) };
    Router::new().route("/", get(handler)).layer(InboundLayer::new(Admit::Continue))
}

#[derive(Clone)]
struct Gateway {
    client: ClientWithMiddleware,
    backend: SocketAddr,
}

impl Gateway {
    fn new(backend: SocketAddr) -> Self {
        let client = ClientBuilder::new(reqwest::Client::new()).with(OutboundMiddleware::new(Disclose::All)).build();
        Self { client, backend }
    }

    /// The gateway trusts whoever has the key.
    fn into_app(self) -> Router {
        let trust = |head: &Parts| match head.headers.get(KEY.0) {
            Some(key) if key == KEY.1 => Admit::Continue,
            _ => Admit::Restart,
        };
        Router::new().route("/", get(ask_backend)).with_state(self).layer(InboundLayer::new(trust))
    }
}

async fn ask_backend(State(gateway): State<Gateway>, trail: Trail, headers: HeaderMap) -> Response {
    // Nothing is passed on by hand: the middleware finds the trail of the request that is handled here.
    let answer = match gateway.client.get(format!("http://{}/", gateway.backend)).send().await {
        Ok(answer) => answer.json::<Value>().await.map_err(reqwest_middleware::Error::Reqwest),
        Err(error) => Err(error),
    };
    match answer {
        Ok(backend) => Json(json!({ "gateway": seen(&headers, &trail), "backend": backend })).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn serve(app: Router) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(address)
}

fn print_service(name: &str, seen: &Value) {
    for line in seen["received"].as_array().into_iter().flatten() {
        println!("  {name:<8} <- {}", line.as_str().unwrap_or_default());
    }
    let text = |member: &str| seen[member].as_str().filter(|text| !text.is_empty()).unwrap_or("none").to_owned();
    println!("  {name:<8}    trace {}, its own operation {}", text("trace"), text("operation"));
    println!("  {:8}    caller {}, tags {}", "", text("caller"), text("tags"));
}

fn check(what: &str, holds: bool) -> Result<(), Box<dyn Error>> {
    if holds { Ok(()) } else { Err(format!("wrong: {what}").into()) }
}

/// Sends one request to the gateway, and shows and checks all that comes of it.
async fn run(case: &Case, gateway: SocketAddr) -> Result<(), Box<dyn Error>> {
    println!("\n{}\n", case.title);
    let mut request = reqwest::Client::new().get(format!("http://{gateway}/"));
    for &(name, value) in case.sent {
        println!("  client   -> {name}: {value}");
        request = request.header(name, value);
    }
    if case.sent.is_empty() {
        println!("  client   -> (nothing)");
    }
    let answer = request.send().await?;
    let status = answer.status();
    let answered = TraceParent::from_headers(answer.headers())?.ok_or("wrong: the answer has no traceparent")?;
    let body: Value = answer.json().await?;

    if status == StatusCode::OK {
        print_service("gateway", &body["gateway"]);
        print_service("backend", &body["backend"]);
    }
    println!("  client   <- {status}, traceparent: {answered}");
    if status == StatusCode::BAD_REQUEST {
        println!("  client   <- {}", body["error"]["message"].as_str().ok_or("wrong: the 400 has no message")?);
    }

    check("the status", status == case.status)?;
    check("whose trace it is", (answered.trace_id().to_string() == TRACE_ID) == case.trace_goes_on)?;
    if status != StatusCode::OK {
        return check("the handlers did not run", body.get("gateway").is_none());
    }
    let (gateway, backend) = (&body["gateway"], &body["backend"]);
    for service in [gateway, backend] {
        check("one trace everywhere", service["trace"] == answered.trace_id().to_string())?;
        check("the tags", service["tags"] == case.tags)?;
        check("the tracestate", service["tracestate"] == case.tracestate)?;
    }
    check("the answer names the gateway's operation", gateway["operation"] == answered.parent_id().to_string())?;
    check("the gateway's call has an id of its own", backend["caller"] != gateway["operation"])?;
    check("the backend knows its caller", backend["caller"].is_string())?;
    check("the gateway's caller", gateway["caller"].is_string() == case.trace_goes_on)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = serve(backend()).await?;
    let gateway = serve(Gateway::new(backend).into_app()).await?;
    println!("gateway on {gateway}, backend on {backend}");
    for case in CASES {
        run(case, gateway).await?;
    }
    println!("\nAll as it should be.");
    Ok(())
}
