//! `tagtrail-log serve`: serves an audit log and its exports.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use clap::Args;
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::export::{ExportFiles, ExportService};
use tagtrail_querylog::server::{AuditApi, ExportApi};
use tagtrail_querylog::{AuditLog, shutdown_signal};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time;

use crate::error::of_option;
use crate::out::{self, report};
use crate::runtime::block_on;
use crate::store::NewStoreArgs;

/// How often objects without a record are deleted, and their minimum age.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);

/// How long requests may take after a shutdown was requested. The client of a download may have stopped reading.
const GRACE: Duration = Duration::from_secs(5);

/// The path of the export API.
const EXPORTS: &str = "/api/v1";

#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    store: NewStoreArgs,
    /// File with the tokens of users, services and accounts
    ///
    /// A JSON object: `{"tokens": [{"token", "kind": "user", "user_id", "user_email", "exec_env_id"}, {"token", "kind":
    /// "service", "exec_env_id"}, {"token", "kind": "account", "region_groups", "databases"}]}`. An account needs one of
    /// its two lists, which name what it may export. A user may also have `name`, `handle` and `exec_env_name`, and a
    /// service `exec_env_name`.
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
    /// Address to listen on; with port 0, a free port is chosen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Base path of the audit log API; repeat it for several
    #[arg(long, value_name = "PATH", default_values = ["/v1", "/server/v1"], value_parser = base)]
    base: Vec<String>,
    /// Directory of export files, or URL of an object store
    ///
    /// An object store also serves the downloads, by signed URLs. By default, the files of an SQLite store are in a
    /// directory next to it, named like it with `.exports` appended. A PostgreSQL store has no exports by default.
    #[arg(long, value_name = "DIR_OR_URL")]
    exports: Option<String>,
    /// URL of this server for clients, used in download URLs [default: the address it listens on]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Number of exports that run at the same time; others wait
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    exports_at_once: u16,
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port (examples: 127.0.0.1:8080, [::1]:8080)")
}

/// Returns a path without a trailing slash, and with a leading slash unless it is empty.
fn base(text: &str) -> Result<String, &'static str> {
    let text = text.trim_matches('/');
    if text.contains(['{', '}', '?', '#', '*']) {
        return Err("expected a path (example: /v1)");
    }
    Ok(if text.is_empty() { String::new() } else { format!("/{text}") })
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let tokens = Tokens::read(&self.tokens)
            .map_err(|error| of_option(&format!("--tokens {}", out::path(&self.tokens)), &error))?;
        block_on(self.serve(tokens))
    }

    async fn serve(self, tokens: Tokens) -> Result<(), Box<dyn Error>> {
        // First, so that no store is created if the address is in use.
        let listener = TcpListener::bind(self.listen)
            .await
            .map_err(|error| of_option(&format!("--listen {}", self.listen), &error))?;
        let url = format!("http://{}", listener.local_addr()?);
        let log = self.store.open().await?;
        let api = AuditApi::new(log.clone(), tokens.clone()).await?.at_paths(self.base.clone());
        let exports = self.exports(&log, &url).await?;
        let mut router = api.router_with_fallback();
        if let Some(exports) = &exports {
            router = router.merge(export_router(exports.clone(), tokens).await?);
        }
        self.report_urls(&url, exports.is_some());
        let sweeper = tokio::spawn(sweep(log));
        let result = serve_until_interrupted(listener, router).await;
        sweeper.abort();
        if let Some(exports) = exports
            && time::timeout(GRACE, exports.shutdown()).await.is_err()
        {
            report("stopping although an export is running: another server will continue it");
        }
        Ok(result?)
    }

    fn report_urls(&self, url: &str, has_exports: bool) {
        let paths = self.base.iter().map(|base| format!("{url}{base}")).collect::<Vec<_>>().join(" and ");
        report(&format!("serving the audit log at {paths} (API description: /openapi.json)"));
        if has_exports {
            report(&format!("serving exports at {url}{EXPORTS} (API description: /logs/openapi.json)"));
        } else {
            report("serving no exports: set --exports to a directory or URL for their files");
        }
        // Standard output may be closed.
        let _ = writeln!(io::stdout(), "listening on {url}");
    }

    async fn exports(&self, log: &AuditLog, url: &str) -> Result<Option<ExportService>, Box<dyn Error>> {
        let Some(location) = self.exports.clone().or_else(|| self.store.default_exports()) else { return Ok(None) };
        if self.public_url.is_none() && self.listen.ip().is_unspecified() {
            report(&format!("set --public-url: download URLs would point to {}", self.listen.ip()));
        }
        let url = self.public_url.as_deref().unwrap_or(url).trim_end_matches('/');
        let files = ExportFiles::at(&location).map_err(|error| of_option(&format!("--exports {location}"), &error))?;
        let builder = ExportService::builder(log.clone(), files, &format!("{url}{EXPORTS}"))
            .map_err(|error| of_option("--public-url", &error))?;
        Ok(Some(builder.at_once(self.exports_at_once.into()).start().await?))
    }
}

async fn export_router(exports: ExportService, tokens: Tokens) -> Result<Router, Box<dyn Error>> {
    Ok(ExportApi::new(exports, tokens).await?.at_paths([EXPORTS]).router())
}

async fn serve_until_interrupted(listener: TcpListener, router: Router) -> io::Result<()> {
    let (notify, notified) = oneshot::channel();
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        shutdown_signal().await;
        // The receiver lives as long as this server.
        let _ = notify.send(());
    });
    let deadline = async {
        // If the sender is dropped, the server has stopped by itself.
        let _ = notified.await;
        time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        () = deadline => {
            report("stopping although some requests have not finished");
            Ok(())
        }
    }
}

async fn sweep(log: AuditLog) {
    let mut interval = time::interval(SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        match log.sweep(SWEEP_INTERVAL).await {
            Ok(0) => {}
            Ok(deleted) => report(&format!("deleted {deleted} objects without a record")),
            Err(error) => report(&format!("cannot delete objects without a record: {error}")),
        }
    }
}
