//! The status of an export: [`ExportStatus`], [`ExportState`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::coverage::Coverage;
use crate::model::time::Timestamp;

/// The status of an export, as the API reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportStatus {
    /// The id of the export.
    pub request_id: String,
    /// The state.
    pub state: ExportState,
    /// The start of the range, inclusive.
    #[serde(with = "short")]
    pub time_start: Timestamp,
    /// The end of the range, exclusive.
    #[serde(with = "short")]
    pub time_end: Timestamp,
    /// The region group of the exported records.
    pub region_group: String,
    /// When the export last changed.
    #[serde(with = "short")]
    pub updated_at: Timestamp,
    /// How often the export has changed.
    pub version: u64,
    /// The region group and the path of the exported database; `None` for a whole region group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The URL of the file, if the export is [complete](ExportState::Complete). Anyone who has the URL can read the
    /// file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presigned_url: Option<String>,
    /// When the URL expires.
    #[serde(default, with = "short::optional", skip_serializing_if = "Option::is_none")]
    pub presigned_url_expiration_time: Option<Timestamp>,
    /// What is missing from the range, as of when the export was completed, whether it has a file or not: without counts.
    /// `None` before, and in a list of exports.
    #[serde(flatten)]
    pub coverage: Option<Coverage>,
}

/// The state of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExportState {
    /// Accepted, and waiting: for its turn, for the end of its range, or for running requests of its range.
    Pending,
    /// The records are being extracted.
    Requested,
    /// The file can be downloaded. Final.
    Complete,
    /// The range contains no records, so there is no file. Final.
    DoesNotExist,
    /// Several attempts failed. Final.
    Failed,
    /// The export took too long. Final.
    TimedOut,
    /// The export was complete, and its URL has expired. It gets a new one, and is then [`Complete`](Self::Complete)
    /// again.
    CreatingNewUrl,
}

impl ExportState {
    /// All states.
    pub const ALL: &'static [Self] = &[
        Self::Pending,
        Self::Requested,
        Self::Complete,
        Self::DoesNotExist,
        Self::Failed,
        Self::TimedOut,
        Self::CreatingNewUrl,
    ];

    /// Returns whether the state is final, so that there is no need to wait any longer.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::DoesNotExist | Self::Failed | Self::TimedOut)
    }

    /// Returns the API's name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Requested => "Requested",
            Self::Complete => "Complete",
            Self::DoesNotExist => "DoesNotExist",
            Self::Failed => "Failed",
            Self::TimedOut => "TimedOut",
            Self::CreatingNewUrl => "CreatingNewUrl",
        }
    }
}

/// Writes the API's name of the state.
impl fmt::Display for ExportState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ExportState {
    type Err = InvalidExportState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text).ok_or(InvalidExportState(()))
    }
}

/// The error for a text that is not an [`ExportState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid export state: expected Pending, Requested, Complete, DoesNotExist, Failed, TimedOut or CreatingNewUrl"
)]
pub struct InvalidExportState(());

/// Timestamps without fractions of a second if these are zero: `2099-07-10T07:46:05Z`.
mod short {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::time::Timestamp;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
    pub(super) fn serialize<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&moment.to_string().replace(".000000Z", "Z"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }

    pub(super) mod optional {
        use super::{Deserializer, Serializer, Timestamp};

        #[allow(clippy::ref_option, reason = "serde requires this signature")]
        pub(crate) fn serialize<S: Serializer>(moment: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            match moment {
                Some(moment) => super::serialize(moment, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
            #[derive(serde::Deserialize)]
            struct Short(#[serde(with = "super")] Timestamp);
            let moment: Option<Short> = serde::Deserialize::deserialize(deserializer)?;
            Ok(moment.map(|Short(moment)| moment))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn export_status_is_serialized_as_the_api_defines_it() {
        let text = concat!(
            r#"{"request_id":"r","state":"Complete","time_start":"2099-07-10T07:46:05Z","#,
            r#""time_end":"2099-07-11T07:46:05.000001Z","region_group":"us-std","#,
            r#""updated_at":"2099-07-11T21:53:47.398213Z","version":0,"database":"us-std/ECommerce","#,
            r#""presigned_url":"http://127.0.0.1/x","presigned_url_expiration_time":"2099-07-11T22:53:47Z"}"#
        );
        let export: ExportStatus = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&export).unwrap(), text);
        let of_whole = text.replace("7Z\"}", r#"7Z","gaps":[],"behind":[]}"#);
        let whole: ExportStatus = serde_json::from_str(&of_whole).unwrap();
        assert_eq!((&export.coverage, &whole.coverage), (&None, &Some(Coverage::default())));
        assert_eq!(serde_json::to_string(&whole).unwrap(), of_whole);
        let pending = ExportStatus {
            state: ExportState::Pending,
            database: None,
            presigned_url: None,
            presigned_url_expiration_time: None,
            ..export
        };
        let text = serde_json::to_string(&pending).unwrap();
        assert!(text.ends_with(r#""version":0}"#), "{text}");
        assert_eq!(serde_json::from_str::<ExportStatus>(&text).unwrap(), pending);
    }

    #[test]
    fn state_is_final_if_it_ends_an_export() {
        let finals: Vec<_> =
            ExportState::ALL.iter().copied().filter(|state| state.is_final()).map(ExportState::as_str).collect();
        assert_eq!(finals, ["Complete", "DoesNotExist", "Failed", "TimedOut"]);
        for &state in ExportState::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!("complete".parse::<ExportState>(), Err(InvalidExportState(())));
    }
}
