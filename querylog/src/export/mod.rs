//! Exports of the log, as files for others to download.
//!
//! An export is a job, which is a row of the store. A process that works on it has a lease in the row, by the clock of
//! the store if it has one. If the process is killed, the lease runs out, and another process takes the job, or the same
//! one once it runs again. It writes another file then: a file that is there is whole, and is never written again.
//!
//! Each file uses only those before it:
//!
//! | file | |
//! | --- | --- |
//! | `settings` | what the builder sets |
//! | `job` | which state follows which: a pure table |
//! | `admission` | which exports are accepted: pure, too |
//! | `files` | where files are |
//! | `link` | URLs of our own server |
//! | `line`, `extract` | from the records to a file |
//! | `core` | what the following share |
//! | `step` | does what the table says |
//! | `work`, `runner` | one job, and which jobs |
//! | `service` | what others see of it all |

#[cfg(feature = "export")]
mod admission;
#[cfg(feature = "export")]
mod core;
#[cfg(feature = "export")]
mod extract;
#[cfg(feature = "export")]
mod files;
#[cfg(feature = "export")]
mod job;
#[cfg(feature = "export")]
mod line;
#[cfg(feature = "export")]
mod link;
#[cfg(feature = "export")]
mod runner;
#[cfg(feature = "export")]
mod service;
#[cfg(feature = "export")]
mod settings;
#[cfg(feature = "export")]
mod step;
#[cfg(all(test, feature = "export"))]
mod tests;
#[cfg(feature = "export")]
mod work;

#[cfg(feature = "export")]
pub(crate) use self::admission::{NewExport, NotAccepted};
#[cfg(feature = "export")]
pub use self::files::ExportFiles;
#[cfg(feature = "export")]
pub(crate) use self::link::{FILES, InvalidLink};
#[cfg(feature = "export")]
pub use self::service::{ExportService, ExportServiceBuilder};
pub use crate::model::export_status::{ExportState, ExportStatus, InvalidExportState};
pub use crate::model::scope::{ExportScope, InvalidExportScope};
