//! A whole axum server on loopback, which serves until its standard input ends.

use std::io::{Read, stdin};
use std::thread;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// The application that layers are put around.
pub fn app() -> Router {
    Router::new().route("/", get(async || "ok"))
}

/// Serves on one thread, at a port that it prints.
///
/// # Panics
///
/// If loopback cannot be listened on.
pub fn serve(app: Router) {
    // Leaves at once: what is counted is the requests.
    thread::spawn(|| {
        let _ = stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address").port());
        axum::serve(listener, app).await.expect("a server");
    });
}
