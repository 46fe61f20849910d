//! `tagtrail-log serve`: the API of an audit log as a server of its own.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use clap::Args;
use tagtrail_querylog::{AuditApi, AuditLog, ExportApi, ExportFiles, ExportService, Tokens};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time;

use crate::audit::{NewPlace, block_on, interrupted};
use crate::out::{self, of_option};

/// Objects that no record has are deleted from this age on; they are looked for as often.
const SWEPT: Duration = Duration::from_secs(3_600);

/// For how long requests may go on once the server is to end: a download may be one that nobody reads.
const GRACE: Duration = Duration::from_secs(5);

/// The path that the API of exports is under.
const EXPORTS: &str = "/api/v1";

#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    place: NewPlace,
    /// The file that says who a token is. Its form is `{"tokens": [{"token", "kind": "user", "user_id", "user_email",
    /// "exec_env_id"}, {"token", "kind": "service", "exec_env_id"}, {"token", "kind": "account", "region_groups",
    /// "databases"}]}`. The lists of an account are what it may export; one of them is enough. A user may have `name`,
    /// `handle` and `exec_env_name` too, a service `exec_env_name`.
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
    /// The address to listen on; with port 0, one that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// The path that the API is under. Repeat it for several.
    #[arg(long, value_name = "PATH", default_values = ["/v1", "/server/v1"], value_parser = base)]
    base: Vec<String>,
    /// Where files of exports are: a folder, or the URL of an object store, which signs the URLs for downloads. By
    /// default the folder beside the file of SQLite, of the same name with `.exports` behind it; with PostgreSQL there
    /// are no exports without this.
    #[arg(long, value_name = "PLACE")]
    exports: Option<String>,
    /// How callers reach this server, for the URLs of downloads; by default the address that it listens on.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// How many exports are extracted at a time; the others wait.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    exports_at_once: u16,
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an IP address and a port are needed, such as 127.0.0.1:8080, or [::1]:8080")
}

/// A path without a slash at its end, and with one at its begin, unless it is empty.
fn base(text: &str) -> Result<String, String> {
    let text = text.trim_matches('/');
    if text.contains(['{', '}', '?', '#', '*']) {
        return Err("a path is needed, such as /v1".to_owned());
    }
    Ok(if text.is_empty() { String::new() } else { format!("/{text}") })
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let tokens = Tokens::read(&self.tokens)
            .map_err(|error| of_option(&format!("--tokens {}", out::path(&self.tokens)), &error))?;
        block_on(async move {
            // First of all, so that where it cannot be, nothing is made.
            let listener = TcpListener::bind(self.listen)
                .await
                .map_err(|error| of_option(&format!("--listen {}", self.listen), &error))?;
            let url = format!("http://{}", listener.local_addr()?);
            let log = self.place.open().await?;
            let api = AuditApi::new(log.clone(), tokens.clone()).await?.under(self.base.clone());
            let exports = self.exports(&log, &url).await?;
            let mut router = api.server();
            if let Some(exports) = &exports {
                router = router.merge(export_router(exports.clone(), tokens).await?);
            }
            let paths = self.base.iter().map(|base| format!("{url}{base}")).collect::<Vec<_>>().join(" and ");
            out::tell(&format!("the audit log is at {paths}, and says how it is asked under /openapi.json there"));
            match exports {
                Some(_) => out::tell(&format!("exports are at {url}{EXPORTS}")),
                None => out::tell("there are no exports: --exports says where their files are to be"),
            }
            // Where nobody reads it, it is served all the same.
            let _ = writeln!(io::stdout(), "listening on {url}");
            let sweeper = tokio::spawn(sweep(log));
            let (told, ending) = oneshot::channel();
            let server = axum::serve(listener, router).with_graceful_shutdown(async {
                interrupted().await;
                // It is received for as long as this is run.
                let _ = told.send(());
            });
            let late = async {
                // Where nothing is sent, the server has ended by itself.
                let _ = ending.await;
                time::sleep(GRACE).await;
            };
            tokio::select! {
                end = server.into_future() => end?,
                () = late => out::tell("requests that have not ended are broken off"),
            }
            sweeper.abort();
            if let Some(exports) = exports {
                exports.shutdown().await;
            }
            Ok(())
        })
    }

    async fn exports(&self, log: &AuditLog, url: &str) -> Result<Option<ExportService>, Box<dyn Error>> {
        let Some(place) = self.exports.clone().or_else(|| self.place.place.exports()) else { return Ok(None) };
        if self.public_url.is_none() && self.listen.ip().is_unspecified() {
            out::tell(&format!("the URLs of downloads need --public-url, since nobody reaches {}", self.listen.ip()));
        }
        let url = self.public_url.as_deref().unwrap_or(url).trim_end_matches('/');
        let files = ExportFiles::at(&place).map_err(|error| of_option(&format!("--exports {place}"), &error))?;
        let settings = ExportService::builder(log.clone(), files, &format!("{url}{EXPORTS}"))
            .map_err(|error| of_option("--public-url", &error))?;
        Ok(Some(settings.at_once(self.exports_at_once.into()).start().await?))
    }
}

async fn export_router(exports: ExportService, tokens: Tokens) -> Result<Router, Box<dyn Error>> {
    Ok(ExportApi::new(exports, tokens).await?.under([EXPORTS]).router())
}

async fn sweep(log: AuditLog) {
    let mut hours = time::interval(SWEPT);
    loop {
        hours.tick().await;
        match log.sweep(SWEPT).await {
            Ok(0) => {}
            Ok(deleted) => out::tell(&format!("deleted {deleted} objects that no record has")),
            Err(error) => out::tell(&format!("objects that no record has are not deleted: {error}")),
        }
    }
}
