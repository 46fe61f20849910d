//! `tagtrail-log export`: requests an export from a server, waits for it, and downloads it.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressStyle};
use tagtrail_querylog::client::{
    Downloaded, ExportClient, ExportClientError, ExportOutcome, ExportRequest, ExportedFile,
};
use tagtrail_querylog::export::{ExportScope, ExportStatus};
use tagtrail_querylog::{Timestamp, shutdown_signal};
use uuid::Uuid;

use crate::error::{UsageError, of_option, with_sources};
use crate::gaps::Missing;
use crate::options::in_order;
use crate::out;
use crate::runtime::block_on;
use crate::source::secret;
use crate::times::{TimeExpression, ZoneArg};

/// The environment variable that holds the account key.
const KEY: &str = "ACCOUNT_KEY";

/// The exit codes of outcomes without a file, and of none at all.
const DOES_NOT_EXIST: u8 = 3;
const FAILED: u8 = 4;
const TIMED_OUT: u8 = 5;
const UNFINISHED: u8 = 6;
/// As shells report SIGINT.
const INTERRUPTED: u8 = 130;

const CODES: &str = "\
Exit status:
  0    success: the file is complete
  1    any other failure: the server cannot be reached or rejected the request, the disk is full, ...
  2    invalid arguments
  3    DoesNotExist: the range contains no records
  4    Failed: the server could not create the export; its log says why
  5    TimedOut: the export took the server too long
  6    not finished within --patience; to continue, use the same --idempotency-token
  130  interrupted, by Ctrl-C for example; to continue, use the same --idempotency-token";

/// Options of `export`.
#[derive(Args)]
#[command(
    after_help = CODES,
    group(ArgGroup::new("scope").required(true).args(["region_group", "database"])),
)]
pub(crate) struct Export {
    /// URL of the server, without the `/api/v1` of its API
    ///
    /// The account key is read from the environment variable `ACCOUNT_KEY`.
    #[arg(long)]
    url: String,
    /// Region group to export, such as `us-std`
    #[arg(long, value_name = "NAME")]
    region_group: Option<ExportScope>,
    /// Database to export, including those below it, such as `us-std/ECommerce`
    #[arg(long, value_name = "PATH")]
    database: Option<ExportScope>,
    /// Export records that started at or after this time: `2024-05-10 18:05`, `15m`, `2 hours ago`, `yesterday`
    ///
    /// Also an ISO 8601 time with an offset or a time zone (`2024-05-10T18:05+02:00`, `2024-05-10 18:05[Europe/Berlin]`),
    /// `today`, a time of today (`18:05`), and seconds or milliseconds since 1970.
    #[arg(long, value_name = "TIME")]
    since: TimeExpression,
    /// Export records that started before this time [default: now]
    ///
    /// The server starts the export 5 seconds after this time, and waits up to a minute for requests that are still
    /// running.
    #[arg(long, value_name = "TIME")]
    until: Option<TimeExpression>,
    #[command(flatten)]
    zone: ZoneArg,
    /// File to create: lines of JSON, compressed with gzip; `-` writes the lines to standard output
    ///
    /// An existing file is not overwritten.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Seconds between two polls of the server
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    poll_every: f64,
    /// Seconds to wait for the export to finish
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0, value_parser = seconds)]
    patience: f64,
    /// Continue the export that was requested with this token in the last 24 hours
    #[arg(long, value_name = "UUID")]
    idempotency_token: Option<Uuid>,
}

/// Reports what was missing when an export was completed.
fn report_missing(export: &ExportStatus) {
    Missing::without_counts(export.coverage.clone()).report();
}

fn how_to_continue(token: Uuid) -> String {
    format!("to continue, add --idempotency-token {token}")
}

fn seconds(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number| (0.01..=1e6).contains(number));
    number.ok_or("expected a number of seconds from 0.01 to 1000000")
}

impl Export {
    pub(crate) fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let (since, until) = self.range();
        in_order(Some(since), Some(until))?;
        self.check_out()?;
        let scope = self.scope()?;
        let key = secret(KEY, "account key")?;
        let client = ExportClient::new(&self.url, &key).map_err(|error| match error {
            ExportClientError::Url => UsageError::new(format!("--url: {error}")).into(),
            ExportClientError::Key => UsageError::new(format!("{KEY}: {error}")).into(),
            error => of_option("--url", &error),
        })?;
        let token = self.idempotency_token.unwrap_or_else(Uuid::new_v4);
        block_on(async {
            tokio::select! {
                ended = self.export(client, scope, token) => ended,
                () = shutdown_signal() => {
                    out::report(&format!("interrupted; {}", how_to_continue(token)));
                    Ok(ExitCode::from(INTERRUPTED))
                }
            }
        })
    }

    fn range(&self) -> (Timestamp, Timestamp) {
        let moment = |time| self.zone.moment(time);
        (moment(&self.since), self.until.as_ref().map_or_else(Timestamp::now, moment))
    }

    fn is_stdout(&self) -> bool {
        self.out.as_os_str() == "-"
    }

    /// Checks that the file can be created, before the server works for an hour.
    fn check_out(&self) -> Result<(), Box<dyn Error>> {
        let option = || format!("--out {}", out::path(&self.out));
        if self.is_stdout() {
            return Ok(());
        }
        if self.out.symlink_metadata().is_ok() {
            return Err(format!("{}: already exists and will not be overwritten", option()).into());
        }
        let folder = self.out.parent().filter(|folder| !folder.as_os_str().is_empty());
        match folder.map(std::fs::metadata).transpose() {
            Ok(Some(folder)) if !folder.is_dir() => Err(format!("{}: the parent is not a directory", option()).into()),
            Ok(_) => Ok(()),
            Err(error) => Err(of_option(&option(), &error)),
        }
    }

    fn scope(&self) -> Result<ExportScope, UsageError> {
        match (&self.region_group, &self.database) {
            (Some(scope), _) if scope.database().is_empty() => Ok(scope.clone()),
            (Some(_), _) => Err(UsageError::new("--region-group: expected a name (us-std); use --database for a path")),
            (_, Some(scope)) if !scope.database().is_empty() => Ok(scope.clone()),
            (_, Some(_)) => Err(UsageError::new(
                "--database: expected a path (us-std/ECommerce); use --region-group for a region group",
            )),
            (None, None) => Err(UsageError::new("--region-group or --database is required")),
        }
    }

    fn request(&self, client: &ExportClient, scope: ExportScope, token: Uuid) -> ExportRequest {
        let (since, until) = self.range();
        let (shown_state, shown_error) = (Mutex::new(None), Mutex::new(String::new()));
        client
            .export(scope, since, until)
            .idempotency_token(token)
            .poll_every(Duration::from_secs_f64(self.poll_every))
            .patience(Duration::from_secs_f64(self.patience))
            .on_status(move |export| {
                if let Ok(mut shown) = shown_state.lock()
                    && shown.replace(export.state) != Some(export.state)
                {
                    out::report(&format!("export {}: {}", export.request_id, export.state));
                }
            })
            .on_retry(move |error| {
                let error = with_sources(error);
                if let Ok(mut shown) = shown_error.lock()
                    && *shown != error
                {
                    out::report(&format!("{error}; retrying until --patience ends"));
                    *shown = error;
                }
            })
    }

    async fn export(&self, client: ExportClient, scope: ExportScope, token: Uuid) -> Result<ExitCode, Box<dyn Error>> {
        match self.request(&client, scope, token).wait().await {
            Ok(ExportOutcome::Complete(file)) => {
                report_missing(file.export());
                let Downloaded { bytes, lines, .. } = self.download(file).await?;
                out::report(&format!("{lines} records, {bytes} bytes of gzip"));
                Ok(ExitCode::SUCCESS)
            }
            Ok(ExportOutcome::DoesNotExist(export)) => {
                report_missing(&export);
                out::report(
                    "no records of this region group or database in the range; services set both in their records",
                );
                Ok(ExitCode::from(DOES_NOT_EXIST))
            }
            Ok(ExportOutcome::Failed(_)) => Ok(ExitCode::from(FAILED)),
            Ok(ExportOutcome::TimedOut(_)) => Ok(ExitCode::from(TIMED_OUT)),
            Ok(_) => Err("the export ended in an unknown state".into()),
            Err(error @ ExportClientError::Unfinished { .. }) => {
                out::report(&format!("{error}; {}", how_to_continue(token)));
                Ok(ExitCode::from(UNFINISHED))
            }
            Err(error @ ExportClientError::Rejected { status: 404, .. }) => {
                Err(format!("{error}; --url must be the URL of a server with exports, without /api/v1").into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn download(&self, file: ExportedFile) -> Result<Downloaded, Box<dyn Error>> {
        if self.is_stdout() {
            return match file.write_lines(io::stdout()).await {
                // The error itself, since a closed pipe is not a failure.
                Err(ExportClientError::Io(error)) => Err(error.into()),
                downloaded => Ok(downloaded?),
            };
        }
        let bar = if io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}")?);
        let download = file.download().save_with_progress(&self.out, |download| {
            bar.set_length(download.size().unwrap_or_default());
            bar.set_position(download.position());
        });
        let downloaded = download.await;
        bar.finish_and_clear();
        Ok(downloaded?)
    }
}
