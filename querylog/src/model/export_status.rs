//! What callers see of an export: [`ExportStatus`], and its [`ExportState`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::time::Timestamp;

/// An export, as the API reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportStatus {
    /// The id by which it is requested.
    pub request_id: String,
    /// How far it is.
    pub state: ExportState,
    /// The first moment of its range.
    #[serde(with = "short")]
    pub time_start: Timestamp,
    /// The moment after its range.
    #[serde(with = "short")]
    pub time_end: Timestamp,
    /// The region group of its records.
    pub region_group: String,
    /// When it changed last.
    #[serde(with = "short")]
    pub updated_at: Timestamp,
    /// How often it has changed.
    pub version: u64,
    /// The region group and the path of the database of its records; `None` for a whole region group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The URL of its file, if it is [complete](ExportState::Complete). Anyone who has the URL may read the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presigned_url: Option<String>,
    /// When that URL runs out.
    #[serde(default, with = "short::optional", skip_serializing_if = "Option::is_none")]
    pub presigned_url_expiration_time: Option<Timestamp>,
}

/// How far an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExportState {
    /// It is accepted, and waits: for its turn, for the end of its range, or for open requests of its range.
    Pending,
    /// Its records are being extracted.
    Requested,
    /// Its file can be downloaded. Final.
    Complete,
    /// There are no records in its range, and there is no file. Final.
    DoesNotExist,
    /// Several attempts failed. Final.
    Failed,
    /// It took too long. Final.
    TimedOut,
    /// It was complete, and its URL has run out: it gets a new one, and is [`Complete`](Self::Complete) again.
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

    /// Returns whether the state is final: anyone who waits for the export need not wait any longer.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::DoesNotExist | Self::Failed | Self::TimedOut)
    }

    /// Returns the word of the API for the state.
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

/// The word of the API.
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

/// The error for a word that is not an [`ExportState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid export state: expected Pending, Requested, Complete, DoesNotExist, Failed, TimedOut or CreatingNewUrl"
)]
pub struct InvalidExportState(());

/// Moments without the digits of a second if these are zero: `2099-07-10T07:46:05Z`.
mod short {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::time::Timestamp;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&moment.to_string().replace(".000000Z", "Z"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }

    pub(super) mod optional {
        use super::{Deserializer, Serializer, Timestamp};

        #[allow(clippy::ref_option, reason = "serde asks for it")]
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
    fn an_export_has_the_form_of_the_api() {
        let text = concat!(
            r#"{"request_id":"r","state":"Complete","time_start":"2099-07-10T07:46:05Z","#,
            r#""time_end":"2099-07-11T07:46:05.000001Z","region_group":"us-std","#,
            r#""updated_at":"2099-07-11T21:53:47.398213Z","version":0,"database":"us-std/ECommerce","#,
            r#""presigned_url":"http://127.0.0.1/x","presigned_url_expiration_time":"2099-07-11T22:53:47Z"}"#
        );
        let export: ExportStatus = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&export).unwrap(), text);
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
    fn four_states_are_final() {
        let last: Vec<_> =
            ExportState::ALL.iter().copied().filter(|state| state.is_final()).map(ExportState::as_str).collect();
        assert_eq!(last, ["Complete", "DoesNotExist", "Failed", "TimedOut"]);
        for &state in ExportState::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!("complete".parse::<ExportState>(), Err(InvalidExportState(())));
    }
}
