//! A whole axum server on loopback, which serves until its standard input ends.

use std::convert::Infallible;
use std::io::{Read, stdin};
use std::thread;

use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use axum::{Router, ServiceExt};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tower::Service;

/// The application that layers are put around.
pub fn app() -> Router {
    Router::new().route("/", get(async || "ok"))
}

/// Serves on one thread, at a port that it prints.
///
/// # Panics
///
/// If loopback cannot be listened on.
#[inline(never)]
pub fn serve<S>(app: S)
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
    // Leaves at once: what is counted is the requests.
    thread::spawn(|| {
        let _ = stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address").port());
        axum::serve(listener, app.into_make_service()).await.expect("a server");
    });
}
