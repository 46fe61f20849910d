//! `tagtrail-log export`: asks a server for an export, waits for it, and downloads it.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressStyle};
use tagtrail_querylog::{Downloaded, ExportClient, ExportError, ExportScope, Exported, ExportedFile, Timestamp};
use uuid::Uuid;

use crate::audit::{block_on, interrupted, secret};
use crate::options::{in_order, moment};
use crate::out::{self, Misuse, of_option};

/// The environment variable that has the key.
const KEY: &str = "ACCOUNT_KEY";

/// The code with which the program ends, for each final state that is no file, and for none at all.
const DOES_NOT_EXIST: u8 = 3;
const FAILED: u8 = 4;
const TIMED_OUT: u8 = 5;
const UNFINISHED: u8 = 6;
/// As by a signal that nobody waits for.
const INTERRUPTED: u8 = 130;

const CODES: &str = "\
Ends with:
  0  the file is there, whole
  1  no file, for another reason: the server cannot be reached, or refuses; the disk is full
  2  the arguments are wrong
  3  DoesNotExist: there are no records in the range
  4  Failed: the server did not make the export; its log says why
  5  TimedOut: the server gave the export up
  6  the export was not finished in time; with the same --idempotency-token it goes on
  130  interrupted, by Ctrl-C say; with the same --idempotency-token it goes on";

#[derive(Args)]
#[command(
    after_help = CODES,
    group(ArgGroup::new("of").required(true).args(["region_group", "database"])),
)]
pub(crate) struct Export {
    /// The URL of the server, before the `/api/v1` of its paths. The account key is taken from the environment variable
    /// `ACCOUNT_KEY`.
    #[arg(long)]
    url: String,
    /// The region group to export, such as `us-std`.
    #[arg(long, value_name = "NAME")]
    region_group: Option<ExportScope>,
    /// The database to export, with those beneath it, behind its region group: `us-std/ECommerce`.
    #[arg(long, value_name = "PATH")]
    database: Option<ExportScope>,
    /// Records that began at this time or later: in ISO 8601, or so long ago: `90s`, `15m`, `2h`, `7d`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Timestamp,
    /// Records that began before this time; now by default. What began just now takes a while: an export waits 5
    /// seconds after this time, and up to a minute for requests that have not ended.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// The file to make, which must not be there yet: gzip of lines of JSON. With `-`, the lines are written to the
    /// standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How often the server is asked how far it is, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    poll_every: f64,
    /// For how long it is asked, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0, value_parser = seconds)]
    patience: f64,
    /// A UUID. For 24 hours, the same one is answered with the same export.
    #[arg(long, value_name = "UUID")]
    idempotency_token: Option<Uuid>,
}

fn go_on(token: Uuid) -> String {
    format!("to go on with it, add --idempotency-token {token}")
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.01..=1e6).contains(number));
    number.ok_or_else(|| "a number of seconds is needed, from 0.01 to 1,000,000".to_owned())
}

impl Export {
    pub(crate) fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        in_order(Some(self.since), Some(self.until.unwrap_or_else(Timestamp::now)))?;
        self.check_out()?;
        let key = secret(KEY, "account key")?;
        let client = ExportClient::new(&self.url, &key).map_err(|error| match error {
            ExportError::Base => Misuse::new(format!("--url: {error}")).into(),
            ExportError::Key => Misuse::new(format!("{KEY}: {error}")).into(),
            error => of_option("--url", &error),
        })?;
        let token = self.idempotency_token.unwrap_or_else(Uuid::new_v4);
        block_on(async {
            tokio::select! {
                ended = self.export(client, token) => ended,
                () = interrupted() => {
                    out::tell(&format!("interrupted; {}", go_on(token)));
                    Ok(ExitCode::from(INTERRUPTED))
                }
            }
        })
    }

    fn is_stdout(&self) -> bool {
        self.out.as_os_str() == "-"
    }

    /// Before a server works for an hour: whether the file can be made.
    fn check_out(&self) -> Result<(), Box<dyn Error>> {
        let option = || format!("--out {}", out::path(&self.out));
        if self.is_stdout() {
            return Ok(());
        }
        if self.out.symlink_metadata().is_ok() {
            return Err(format!("{}: it is there already, and is not overwritten", option()).into());
        }
        let folder = self.out.parent().filter(|folder| !folder.as_os_str().is_empty());
        match folder.map(std::fs::metadata).transpose() {
            Ok(Some(folder)) if !folder.is_dir() => Err(format!("{}: there is no such folder", option()).into()),
            Ok(_) => Ok(()),
            Err(error) => Err(of_option(&option(), &error)),
        }
    }

    async fn export(&self, client: ExportClient, token: Uuid) -> Result<ExitCode, Box<dyn Error>> {
        let Some(scope) = self.region_group.as_ref().or(self.database.as_ref()) else {
            return Err(Misuse::new("--region-group or --database is needed").into());
        };
        if scope.database().is_empty() == self.database.is_some() {
            return Err(Misuse::new(
                "--region-group is a name such as us-std, --database a path behind it: us-std/ECommerce",
            )
            .into());
        }
        let until = self.until.unwrap_or_else(Timestamp::now);
        let request = client.export(scope.clone(), self.since, until).idempotency_token(token);
        let (said, said_again) = (Mutex::new(None), Mutex::new(String::new()));
        let request = request
            .poll_every(Duration::from_secs_f64(self.poll_every))
            .patience(Duration::from_secs_f64(self.patience))
            .on_answer(move |export| {
                if let Ok(mut said) = said.lock()
                    && said.replace(export.state) != Some(export.state)
                {
                    out::tell(&format!("export {}: {}", export.request_id, export.state));
                }
            })
            .on_retry(move |error| {
                let error = error.to_string();
                if let Ok(mut said) = said_again.lock()
                    && *said != error
                {
                    out::tell(&format!("{error}; it is asked again until --patience ends"));
                    *said = error;
                }
            });
        Ok(match request.wait().await {
            Ok(Exported::Complete(file)) => {
                let Downloaded { bytes, lines, .. } = self.download(file).await?;
                out::tell(&format!("{lines} records, {bytes} bytes of gzip"));
                ExitCode::SUCCESS
            }
            Ok(Exported::DoesNotExist(_)) => ExitCode::from(DOES_NOT_EXIST),
            Ok(Exported::Failed(_)) => ExitCode::from(FAILED),
            Ok(Exported::TimedOut(_)) => ExitCode::from(TIMED_OUT),
            Err(error @ ExportError::Unfinished { .. }) => {
                out::tell(&format!("{error}; {}", go_on(token)));
                ExitCode::from(UNFINISHED)
            }
            Err(error @ ExportError::Refused { status: 404, .. }) => {
                return Err(format!("{error}; --url is the one before /api/v1, of a server that has exports").into());
            }
            Err(error) => return Err(error.into()),
        })
    }

    async fn download(&self, file: ExportedFile) -> Result<Downloaded, Box<dyn Error>> {
        if self.is_stdout() {
            return match file.write_lines(io::stdout()).await {
                // So that a closed pipe is told from other mistakes.
                Err(ExportError::Io(error)) => Err(error.into()),
                downloaded => Ok(downloaded?),
            };
        }
        let bar = if io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}")?);
        let download = file.download().save_telling(&self.out, |download| {
            bar.set_length(download.size().unwrap_or_default());
            bar.set_position(download.position());
        });
        let downloaded = download.await;
        bar.finish_and_clear();
        Ok(downloaded?)
    }
}
